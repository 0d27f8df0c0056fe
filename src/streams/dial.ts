import { lookup } from "node:dns/promises";
import { connect, isIP, type Socket } from "node:net";
import { NetworkError } from "../errors.ts";

/** The addresses of a host, in the order the resolver prefers. A literal is its own address. Throws NetworkError. */
export async function resolveHost(host: string, timeout: number): Promise<string[]> {
  if (isIP(host)) return [host];
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NetworkError(`Cannot resolve ${host} in ${timeout} ms`, "ETIMEDOUT")), timeout);
  });
  try {
    const found = await Promise.race([lookup(host, { all: true, order: "verbatim" }), late]);
    return found.map(({ address }) => address);
  } catch (error) {
    if (error instanceof NetworkError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "ENOTFOUND";
    throw new NetworkError(`Cannot resolve ${host}: ${code}`, code, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** ms until the next address is tried as well, if no address has answered yet: RFC 8305, section 5. */
const ATTEMPT_DELAY = 250;

/**
 * Connects to the first address that answers, trying several at a time as in RFC 8305. The socket is paused and may be
 * half-open. Rejects with NetworkError and the system's code; with ETIMEDOUT after `timeout` ms.
 */
export function dial(addresses: readonly string[], port: number, timeout: number): Promise<Socket> {
  const where = `${addresses.join(", ")} port ${port}`;
  const attempts = new Set<Socket>();
  let next = 0;
  let delay: NodeJS.Timeout | undefined;
  return new Promise((resolve, reject) => {
    const settle = (conclude: () => void) => {
      clearTimeout(timer);
      clearTimeout(delay);
      for (const socket of attempts) socket.destroy();
      conclude();
    };
    const fail = (message: string, code: string, cause?: Error) =>
      settle(() => reject(new NetworkError(message, code, { cause })));
    const timer = setTimeout(() => fail(`Cannot connect to ${where} in ${timeout} ms`, "ETIMEDOUT"), timeout);

    const attempt = () => {
      clearTimeout(delay);
      const address = addresses[next];
      if (address === undefined) return fail("Cannot connect: the host has no address", "ENOTFOUND");
      next += 1;
      const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
      attempts.add(socket);
      const failed = (error: NodeJS.ErrnoException) => {
        attempts.delete(socket);
        const code = error.code ?? "ECONNREFUSED";
        if (next < addresses.length) attempt();
        else if (attempts.size === 0) fail(`Cannot connect to ${where}: ${code}`, code, error);
      };
      socket.once("error", failed);
      socket.once("connect", () => {
        attempts.delete(socket);
        // The next owner listens for errors. Until then an error must not end the process.
        socket.off("error", failed).on("error", () => {});
        socket.pause();
        settle(() => resolve(socket));
      });
      if (next < addresses.length) delay = setTimeout(attempt, ATTEMPT_DELAY);
      return undefined;
    };
    attempt();
  });
}
