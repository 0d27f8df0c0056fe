import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { ConfigError, NetworkError } from "../errors.ts";
import { transparentListener } from "../linux/sockets.ts";
import type { Endpoint } from "../vocabulary.ts";
import { End } from "./end.ts";
import { saveSyns } from "./ip-header.ts";
import { keepAlive } from "./keepalive.ts";
import type { Loop, Task } from "./loop.ts";
import { errno, libc, must } from "./native.ts";
import { AF_INET6, familyOf, systemCode, writeSocketAddress } from "./socket-address.ts";

/** Connections that the kernel completes while this process is busy. It takes fewer where net.core.somaxconn is lower. */
const BACKLOG = 4096;

export interface ListenOptions {
  /** An IP address; `listenConfigured` also takes a name. */
  readonly host: string;
  /** 0: the kernel chooses one. */
  readonly port: number;
  /** Several sockets, of several processes, listen at this port (SO_REUSEPORT), and the kernel spreads connections over them. */
  readonly shared: boolean;
  /**
   * Also accept connections to addresses that are not this machine's, when the kernel steers them here. `mark`: the firewall mark
   * of their packets; `device`: only those that come in by this interface. Needs CAP_NET_ADMIN.
   */
  readonly transparent?: { readonly mark?: number; readonly device?: string | undefined };
  /** Keeps the headers of SYNs for `savedSyn`. */
  readonly savesSyns?: boolean;
}

/** `from` is the peer's end, `to` our end: with a transparent socket, the end that the peer wanted to reach. */
export type Accept = (client: End, from: Endpoint, to: Endpoint) => void;

/**
 * Accepts TCP connections. The socket is made before this returns, in the network namespace of the caller; closing the answer ends
 * the listening. Throws NetworkError.
 */
export function listen(loop: Loop, options: ListenOptions, accept: Accept): End {
  const { host, port, shared, transparent, savesSyns = false } = options;
  const fd = transparent
    ? transparentListener({ address: host, port, backlog: BACKLOG, reusePort: shared, ...transparent })
    : plainListener(host, port, shared);
  if (savesSyns) saveSyns(fd);
  const welcome = (client: End) => {
    const [from, to] = [client.remote(), client.local()];
    // A client that has already left has no address.
    if (from && to) accept(client, from, to);
    else client.close();
  };
  return acceptFrom(loop, fd, welcome, (error) => loop.report(error));
}

/** As `listen`, at an address of the configuration. Rejects with ConfigError, which names its path. */
export async function listenConfigured(loop: Loop, path: string, options: ListenOptions, accept: Accept): Promise<End> {
  try {
    return listen(loop, { ...options, host: await addressOf(options) }, accept);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    throw new ConfigError(path, `${error.message} (${path})`, { cause: error });
  }
}

/** The first address of a name. Throws NetworkError. */
async function addressOf({ host, port }: ListenOptions): Promise<string> {
  if (isIP(host)) return host;
  try {
    return (await lookup(host)).address;
  } catch (error) {
    const { code = "ENOTFOUND" } = error as NodeJS.ErrnoException;
    throw new NetworkError(`Cannot listen at ${host}:${port}: ${code}`, code, { cause: error });
  }
}

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const TCP = 6;
const TCP_NODELAY = 1;
const ON = Buffer.from([1, 0, 0, 0]);
const OFF = Buffer.alloc(4);
const EAGAIN = 11;
/** A client that left before it was accepted. */
const ECONNABORTED = 103;
/** Connections accepted before others have their turn. */
const BATCH = 16;
/** ms until accept is tried again when the process has no descriptor left. */
const SHORTAGE = 100;

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there",
  EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE",
  EADDRNOTAVAIL: "this machine has no such address",
};

function plainListener(host: string, port: number, shared: boolean): number {
  const family = familyOf(host);
  const fd = must(libc.socket(family, SOCK_STREAM | SOCK_NONBLOCK_CLOEXEC, 0), "socket");
  libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, ON, ON.length);
  if (shared) libc.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, ON, ON.length);
  // "::" takes IPv4 as well.
  if (family === AF_INET6) libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, OFF, OFF.length);
  const name = writeSocketAddress({ address: host, port });
  if (libc.bind(fd, name, name.length) === 0 && libc.listen(fd, BACKLOG) === 0) return fd;
  const code = systemCode(errno());
  libc.close(fd);
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  throw new NetworkError(`Cannot listen at ${where}: ${WHY[code] ?? code}`, code);
}

/**
 * Accepts connections of a listening socket, which belongs to the answer. `report` is called once with what keeps the listener from
 * accepting, until it accepts again: it goes on trying.
 */
export function acceptFrom(
  loop: Loop,
  fd: number,
  accept: (client: End) => void,
  report: (error: NetworkError) => void,
): End {
  // Accepted sockets inherit both.
  libc.setsockopt(fd, TCP, TCP_NODELAY, ON, ON.length);
  keepAlive(fd);
  const listener = End.adopt(loop, fd);
  let isFailing = false;
  const fails = (error: NetworkError) => {
    if (!isFailing) report(error);
    isFailing = true;
    // Edge-triggered: nothing else would ever call again.
    setTimeout(() => listener.isOpen && loop.enqueue(task), SHORTAGE).unref();
  };
  const task: Task = {
    queued: false,
    run() {
      for (let taken = 0; taken < BATCH && listener.isOpen; taken += 1) {
        const client = libc.accept4(fd, null, null, SOCK_NONBLOCK_CLOEXEC);
        const code = client >= 0 ? 0 : errno();
        if (code === EAGAIN) return false;
        if (client >= 0) {
          isFailing = false;
          accept(End.adoptAccepted(loop, client));
        } else if (code !== ECONNABORTED) {
          fails(new NetworkError(`Cannot accept a connection: ${systemCode(code)}`, systemCode(code)));
          return false;
        }
      }
      // Behind what is ready, but in front of what has been at work for long: else connections would wait in the kernel, and nothing
      // would tell that they do.
      if (listener.isOpen) loop.enqueue(task);
      return false;
    },
    fail(error) {
      if (!listener.isOpen) return;
      if (!(error instanceof NetworkError)) throw error;
      fails(error);
    },
  };
  listener.task = task;
  loop.enqueue(task);
  return listener;
}
