import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
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
