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

/**
 * Connects to the first of the addresses that answers, several at a time as RFC 8305 has it. The socket is half-open
 * capable and paused. Throws NetworkError with the system's code; ETIMEDOUT after `timeout` ms.
 */
export function dial(addresses: readonly string[], port: number, timeout: number): Promise<Socket> {
  const families = addresses.map((address) => ({ address, family: isIP(address) }));
  const [first] = families;
  if (!first) throw new NetworkError("Cannot connect: the host has no address", "ENOTFOUND");
  const where = addresses.length === 1 ? `${first.address} port ${port}` : `${addresses.join(", ")} port ${port}`;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: first.address,
      port,
      allowHalfOpen: true,
      noDelay: true,
      ...(families.length > 1 && {
        host: "several.invalid",
        autoSelectFamily: true,
        lookup: (_host, _options, callback) => callback(null, families),
      }),
    });
    const fail = (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const code = error.code ?? "ECONNREFUSED";
      reject(new NetworkError(`Cannot connect to ${where}: ${code}`, code, { cause: error }));
    };
    const timer = setTimeout(() => {
      socket.off("error", fail);
      socket.on("error", () => {});
      socket.destroy();
      reject(new NetworkError(`Cannot connect to ${where} in ${timeout} ms`, "ETIMEDOUT"));
    }, timeout);
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      // From here on whoever reads or writes hears of an error; in between it must not bring the process down.
      socket.on("error", () => {});
      socket.pause();
      resolve(socket);
    });
  });
}
