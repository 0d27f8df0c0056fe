import { createServer, type Server, type Socket } from "node:net";
import { ConfigError, NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { transparentListener } from "./sockets.ts";

/** Connections that the kernel completes while this process is busy. It takes fewer where net.core.somaxconn is lower. */
const BACKLOG = 4096;

export interface ListenOptions {
  readonly host: string;
  /** 0: the kernel chooses one. */
  readonly port: number;
  /** Several sockets, of several processes, listen at this port (SO_REUSEPORT), and the kernel spreads connections over them. */
  readonly shared: boolean;
  /**
   * Also accept connections to addresses that are not this machine's, when the kernel steers them here. `mark`: the firewall mark
   * of their packets. Needs CAP_NET_ADMIN.
   */
  readonly transparent?: { readonly mark?: number };
}

/** `from` is the peer's end, `to` our end: with a transparent socket, the end that the peer wanted to reach. */
export type Accept = (socket: Socket, from: Endpoint, to: Endpoint) => void;

/**
 * Accepts TCP connections, each paused, half-open capable and without delay. The socket is made before this returns, in the
 * network namespace of the caller. Rejects with NetworkError.
 */
export async function listen(options: ListenOptions, accept: Accept): Promise<Server> {
  const { host, port, shared, transparent } = options;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    const { remoteAddress, remotePort = 0, localAddress, localPort = 0 } = socket;
    // An error before the session reads or writes must not end the process.
    socket.on("error", () => {});
    // A client that has already left has no address.
    if (remoteAddress === undefined || localAddress === undefined) return void socket.destroy();
    const [from, to] = [plainAddress(remoteAddress), plainAddress(localAddress)];
    return accept(socket, { address: from, port: remotePort }, { address: to, port: localPort });
  });
  const at = transparent
    ? { fd: transparentListener({ address: host, port, backlog: BACKLOG, reusePort: shared, ...transparent }) }
    : { host, port, reusePort: shared };
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(explain(error, host, port)));
    server.listen({ ...at, backlog: BACKLOG }, () => {
      server.removeAllListeners("error").on("error", () => {});
      resolve(server);
    });
  });
}

/** As `listen`, at an address of the configuration. Rejects with ConfigError, which names its path. */
export async function listenConfigured(path: string, options: ListenOptions, accept: Accept): Promise<Server> {
  try {
    return await listen(options, accept);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    throw new ConfigError(path, `${error.message} (${path})`, { cause: error });
  }
}

/** SO_REUSEPORT lets two nodes of one user share a port without an error. Only an exclusive bind shows that it is taken. */
export async function checkFree(where: {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}): Promise<void> {
  const server = await listenConfigured(where.path, { ...where, shared: false }, (client) => client.destroy());
  await new Promise((resolve) => server.close(resolve));
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE",
  EADDRNOTAVAIL: "this machine has no such address",
};

function explain(error: NodeJS.ErrnoException, host: string, port: number): NetworkError {
  const code = error.code ?? "an unknown error";
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return new NetworkError(`Cannot listen at ${where}: ${WHY[code] ?? code}`, code, { cause: error });
}

/** An IPv4 peer of a dual-stack socket: its own address, not the mapped one. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice("::ffff:".length) : address;
}
