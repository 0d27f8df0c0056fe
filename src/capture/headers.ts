import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival } from "./arrival.ts";

/** Connections that begin with a header, on their way in and out. */

/** Dials, and sends the header first. */
export function beginningWith<Dial extends (...to: never[]) => Promise<End>>(
  dial: Dial,
  header: Buffer | undefined,
): Dial {
  if (!header) return dial;
  const dialWith = async (...to: Parameters<Dial>) => {
    const server = await dial(...to);
    server.writeBytes(header);
    return server;
  };
  return dialWith as Dial;
}

/** A connection without the header that its listener expects: its session only says why it is over. */
export function arriveRefused(
  client: End,
  from: Endpoint,
  at: Pick<Arrival, "listener" | "mode">,
  reason: string,
): Arrival {
  const refused = async (): Promise<never> => {
    throw new NetworkError(reason, "EPROTO");
  };
  return {
    ...at,
    client,
    from,
    locate: refused,
    dial: refused,
    welcome: refused,
    refuse: () => client.reset(),
    again: () => arriveRefused(client, from, at, reason),
  };
}
