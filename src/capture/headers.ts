import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival } from "./arrival.ts";

/** Connections that begin with a header, on their way in and out. */

/** Dials, and sends the header first. */
export function beginningWith(dial: Arrival["dial"], header: Buffer): Arrival["dial"] {
  return async (addresses, port) => {
    const server = await dial(addresses, port);
    server.writeBytes(header);
    return server;
  };
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
    refuse: () => void client.reset(),
  };
}
