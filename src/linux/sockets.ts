import { closeSync } from "node:fs";
import { isIP, Socket } from "node:net";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { AF, bindAddress, listen, OPTION, SOCK, setOption, socket } from "./syscalls.ts";

/**
 * A listening TCP socket that also accepts connections to addresses that are not this machine's, when the kernel steers them here. Pass
 * the descriptor to `net.createServer().listen({ fd, backlog })` with the same backlog, because that calls listen(2) again. An IPv6
 * socket takes IPv6 only. Returns the file descriptor, which the caller owns. Throws NetworkError: EPERM without CAP_NET_ADMIN,
 * EADDRINUSE.
 */
export function transparentListener(options: {
  readonly address: string;
  readonly port: number;
  readonly backlog: number;
  /** Several sockets, of several processes, at one port: the kernel spreads the connections over them. */
  readonly reusePort: boolean;
  /** The firewall mark of the packets of every accepted connection. */
  readonly mark?: number;
}): number {
  const { address, port, backlog, reusePort, mark } = options;
  return opened(`Cannot listen transparently at ${name(options)}`, address, (fd) => {
    if (mark !== undefined) setOption(fd, OPTION.MARK, mark | 0);
    if (isIP(address) === 6) setOption(fd, OPTION.V6ONLY, 1);
    if (reusePort) setOption(fd, OPTION.REUSEPORT, 1);
    bindAddress(fd, address, port);
    listen(fd, backlog);
  });
}

/**
 * A TCP socket bound to an address that need not be this machine's. Port 0: the kernel chooses a port when the socket connects. Pass
 * the descriptor to `new net.Socket({ fd, manualStart: true, allowHalfOpen: true }).connect(…)`. Returns the file descriptor, which
 * the caller owns. Throws NetworkError: EPERM without CAP_NET_ADMIN, EADDRINUSE, EACCES for a port below 1024 without
 * CAP_NET_BIND_SERVICE.
 */
export function transparentClient(from: Endpoint, mark?: number): number {
  return opened(`Cannot bind to ${name(from)}`, from.address, (fd) => {
    if (mark !== undefined) setOption(fd, OPTION.MARK, mark | 0);
    // Otherwise the kernel takes a port that is free toward every destination, which limits a client to 28,000 connections.
    if (from.port === 0) setOption(fd, OPTION.BIND_ADDRESS_NO_PORT, 1);
    bindAddress(fd, from.address, from.port);
  });
}

/** The client's own port cannot be used: it is taken, its last connection is in TIME_WAIT, or it needs a privilege. */
const PORT_TAKEN: readonly string[] = ["EADDRINUSE", "EADDRNOTAVAIL", "EACCES"];

/**
 * Connects as the client: from its address and, where that is free, its port. The socket is half-open capable and paused.
 * Throws NetworkError with the system's code; ETIMEDOUT after `timeout` ms.
 */
export async function connectFrom(options: {
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** ms. */
  readonly timeout: number;
  /** The firewall mark of its packets, which selects their rules and routes. */
  readonly mark?: number;
  /** Fail when the port cannot be used, instead of taking another one. */
  readonly exactly?: boolean;
}): Promise<Socket> {
  const { from, timeout, exactly = false } = options;
  const deadline = performance.now() + timeout;
  try {
    return await connect(options);
  } catch (error) {
    if (exactly || from.port === 0 || !(error instanceof NetworkError) || !PORT_TAKEN.includes(error.code)) throw error;
    const left = Math.max(1, deadline - performance.now());
    return await connect({ ...options, from: { address: from.address, port: 0 }, timeout: left });
  }
}

function connect({ from, to, timeout, mark }: Parameters<typeof connectFrom>[0]): Promise<Socket> {
  const socket = adopt(transparentClient(from, mark));
  const what = `Cannot connect to ${name(to)} as ${from.address}`;
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const code = error.code ?? "ECONNREFUSED";
      reject(new NetworkError(`${what}: ${code}`, code, { cause: error }));
    };
    const timer = setTimeout(() => {
      socket.off("error", fail);
      socket.on("error", () => {});
      socket.destroy();
      reject(new NetworkError(`${what} in ${timeout} ms`, "ETIMEDOUT"));
    }, timeout);
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      // Later errors reach whoever reads or writes. Until somebody does, one must not end the process.
      socket.on("error", () => {});
      socket.pause();
      resolve(socket);
    });
    socket.setNoDelay(true);
    socket.connect({ host: to.address, port: to.port });
  });
}

function adopt(fd: number): Socket {
  // manualStart: nothing is read before the socket is connected. Node's types do not have it.
  const options = { fd, manualStart: true, allowHalfOpen: true };
  try {
    return new Socket(options);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A transparent TCP socket of the address's family. It is closed again when `prepare` fails. */
function opened(action: string, address: string, prepare: (fd: number) => void): number {
  const family = isIP(address);
  if (family === 0) throw new NetworkError(`${action}: not an IP address`, "EINVAL");
  let fd: number | undefined;
  try {
    fd = socket(family === 6 ? AF.INET6 : AF.INET, SOCK.STREAM | SOCK.NONBLOCK, 0);
    setOption(fd, OPTION.REUSEADDR, 1);
    setOption(fd, family === 6 ? OPTION.TRANSPARENT_V6 : OPTION.TRANSPARENT, 1);
    prepare(fd);
    return fd;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (!(error instanceof NetworkError)) throw error;
    const why = error.code === "EPERM" ? "EPERM: it needs CAP_NET_ADMIN" : error.code;
    throw new NetworkError(`${action}: ${why}`, error.code, { cause: error });
  }
}

function name({ address, port }: Endpoint): string {
  return isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}
