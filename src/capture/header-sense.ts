import { NetworkError } from "../errors.ts";
import { readUntil } from "../streams/reading.ts";
import type { Arrival } from "./arrival.ts";
import { beginningWith } from "./headers.ts";

/**
 * Whether a server understands headers of the PROXY protocol. One that does waits for what follows a header. One that does not takes the
 * header for a message of its own protocol, and refuses it at once.
 */

/** ms that a server has to refuse a header. */
const PATIENCE = 500;
/** ms for which an answer holds. Afterwards the server is asked again, and sessions do not wait for it. */
const HOLDS = 300_000;

/** Dials, and sends the header first if the server understands it. `now` in ms. */
export function beginningWhereUnderstood(
  now: () => number,
): (dial: Arrival["dial"], header: Buffer) => Arrival["dial"] {
  let known: { readonly understands: boolean; readonly until: number } | undefined;
  let asking: Promise<boolean> | undefined;
  const ask = (dial: Arrival["dial"], header: Buffer, addresses: readonly string[], port: number) => {
    asking ??= understands(beginningWith(dial, header), addresses, port)
      .then((answer) => {
        known = { understands: answer, until: now() + HOLDS };
        return answer;
      })
      .finally(() => {
        asking = undefined;
      });
    return asking;
  };
  return (dial, header) => async (addresses, port) => {
    const asked = known && known.until > now() ? undefined : ask(dial, header, addresses, port);
    // Who waits for it gets its error; nobody else does.
    asked?.catch(() => {});
    const wanted = known ? known.understands : await asked;
    return wanted ? beginningWith(dial, header)(addresses, port) : dial(addresses, port);
  };
}

/** Throws NetworkError when the server cannot be reached. */
async function understands(dialWith: Arrival["dial"], addresses: readonly string[], port: number): Promise<boolean> {
  const server = await dialWith(addresses, port);
  try {
    const judge = (_side: unknown, bytes: Buffer) => ({ refuses: isRefusal(bytes.toString("latin1", 0, 12)) });
    const { answer } = await readUntil({ client: server }, judge, { silence: PATIENCE, gap: PATIENCE });
    // It has closed the connection, or has said something.
    return answer ? !answer.refuses : false;
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return error.code === "ETIMEDOUT";
  } finally {
    server.close();
  }
}

/** A TLS alert, or an HTTP error. A server that greets its clients may do so behind a header too. */
function isRefusal(said: string): boolean {
  return said.startsWith("\x15\x03") || /^HTTP\/1\.[01] [45]/.test(said);
}
