import { closeSync } from "node:fs";
import { isIP } from "node:net";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { AF, bindAddress, listen, OPTION, SOCK, setOption, socket } from "./syscalls.ts";

/**
 * A listening TCP socket that also accepts connections to addresses that are not this machine's, when the kernel steers them here. An
 * IPv6 socket takes IPv6 only. Returns the file descriptor, which the caller owns. Throws NetworkError: EPERM without CAP_NET_ADMIN,
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
  /** Only connections that come in by this interface: their ends may be those of a connection that comes in by another. */
  readonly device?: string | undefined;
}): number {
  const { address, port, backlog, reusePort, mark, device } = options;
  return opened(`Cannot listen transparently at ${name(options)}`, address, (fd) => {
    if (mark !== undefined) setOption(fd, OPTION.MARK, mark | 0);
    if (isIP(address) === 6) setOption(fd, OPTION.V6ONLY, 1);
    if (device !== undefined) setOption(fd, OPTION.BINDTODEVICE, device);
    if (reusePort) setOption(fd, OPTION.REUSEPORT, 1);
    bindAddress(fd, address, port);
    listen(fd, backlog);
  });
}

/**
 * A TCP socket bound to an address that need not be this machine's. Port 0: the kernel chooses a port when the socket connects.
 * Returns the file descriptor, which the caller owns. Throws NetworkError: EPERM without CAP_NET_ADMIN, EADDRINUSE, EACCES for a port
 * below 1024 without CAP_NET_BIND_SERVICE.
 */
export function transparentClient(from: Endpoint, mark?: number): number {
  return opened(`Cannot bind to ${name(from)}`, from.address, (fd) => {
    if (mark !== undefined) setOption(fd, OPTION.MARK, mark | 0);
    // Otherwise the kernel takes a port that is free toward every destination, which limits a client to 28,000 connections.
    if (from.port === 0) setOption(fd, OPTION.BIND_ADDRESS_NO_PORT, 1);
    bindAddress(fd, from.address, from.port);
  });
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
