import { createServer, type Server, type Socket } from "node:net";
import { ConfigError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";

/** Connections that the kernel completes while this process is busy. It takes less where net.core.somaxconn is lower. */
const BACKLOG = 4096;

/**
 * Accepts connections, each paused and half-open capable. Every worker listens with SO_REUSEPORT, so that the kernel spreads
 * connections over them. Throws ConfigError, with the path of the listener's address, when the port cannot be had.
 */
export function listen(
  where: { readonly host: string; readonly port: number; readonly path: string; readonly shared: boolean },
  accept: (client: Socket, from: Endpoint) => void,
): Promise<Server> {
  const { host, port, path, shared } = where;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    // A client that is gone already has no address, and is nobody's session.
    if (client.remoteAddress === undefined) return client.destroy();
    client.on("error", () => {});
    return accept(client, { address: plainAddress(client.remoteAddress), port: client.remotePort ?? 0 });
  });
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(explain(error, host, port, path)));
    server.listen({ host, port, backlog: BACKLOG, reusePort: shared }, () => {
      server.removeAllListeners("error");
      server.on("error", () => {});
      resolve(server);
    });
  });
}

/** SO_REUSEPORT lets two nodes of one user share a port in silence: only an exclusive bind finds out that it is taken. */
export async function checkFree(where: {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}): Promise<void> {
  const server = await listen({ ...where, shared: false }, (client) => client.destroy());
  await new Promise((resolve) => server.close(resolve));
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE",
  EADDRNOTAVAIL: "this machine has no such address",
};

function explain(error: NodeJS.ErrnoException, host: string, port: number, path: string): ConfigError {
  const code = error.code ?? "an unknown error";
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return new ConfigError(path, `Cannot listen at ${where} (${path}): ${WHY[code] ?? code}`, { cause: error });
}

/** An IPv4 client of a dual-stack listener: its own address, not the mapped one. */
export function plainAddress(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice("::ffff:".length) : address;
}
