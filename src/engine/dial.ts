import { NetworkError } from "../errors.ts";
import { transparentClient } from "../linux/sockets.ts";
import type { Endpoint } from "../vocabulary.ts";
import { End } from "./end.ts";
import type { Loop } from "./loop.ts";
import { errno, libc, must } from "./native.ts";
import { familyOf, systemCode, writeSocketAddress } from "./socket-address.ts";
import { until } from "./wait.ts";

const SOCK_STREAM = 1;
const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const EINPROGRESS = 115;
const TCP = 6;
const TCP_NODELAY = 1;
const ON = Buffer.from([1, 0, 0, 0]);

/** A new TCP socket that does not block and that no child process inherits. The caller owns it. */
export function openSocket(address: string): number {
  return must(libc.socket(familyOf(address), SOCK_STREAM | SOCK_NONBLOCK_CLOEXEC, 0), "socket");
}

/**
 * Connects this socket, which may be bound already. It belongs to the answer, and is closed when this rejects: with NetworkError, the
 * system's code in it; ETIMEDOUT after `timeout` ms.
 */
export async function connect(loop: Loop, fd: number, to: Endpoint, timeout: number): Promise<End> {
  libc.setsockopt(fd, TCP, TCP_NODELAY, ON, ON.length);
  const name = writeSocketAddress(to);
  const where = `${to.address} port ${to.port}`;
  const result = libc.connect(fd, name, name.length);
  if (result < 0 && errno() !== EINPROGRESS) {
    const code = systemCode(errno());
    libc.close(fd);
    throw new NetworkError(`Cannot connect to ${where}: ${code}`, code);
  }
  const end = End.adopt(loop, fd);
  // Adopted while connecting: it is writable when the connection is there, or has failed.
  end.writable = false;
  try {
    await until([end], () => end.writable || undefined, {
      timeout,
      late: `Cannot connect to ${where} in ${timeout} ms`,
    });
    const code = end.takeError();
    if (code !== undefined) throw new NetworkError(`Cannot connect to ${where}: ${code}`, code);
    return end;
  } catch (error) {
    end.close();
    throw error;
  }
}

/** ms until the next address is tried beside those that have not answered yet: RFC 8305, section 5. */
const ATTEMPT_DELAY = 250;

/**
 * Connects to the first of the addresses that answers, several at a time (RFC 8305). Rejects with NetworkError, the system's code
 * in it; ETIMEDOUT after `timeout` ms.
 */
export function dial(loop: Loop, addresses: readonly string[], port: number, timeout: number): Promise<End> {
  const where = `${addresses.join(", ")} port ${port}`;
  return new Promise((resolve, reject) => {
    let [next, pending, isSettled] = [0, 0, false];
    let delay: NodeJS.Timeout | undefined;
    const late = setTimeout(() => fail(`Cannot connect to ${where} in ${timeout} ms`, "ETIMEDOUT"), timeout);
    const settle = () => {
      isSettled = true;
      clearTimeout(late);
      clearTimeout(delay);
    };
    const fail = (message: string, code: string) => {
      settle();
      reject(new NetworkError(message, code));
    };
    const attempt = () => {
      clearTimeout(delay);
      const address = addresses[next];
      if (address === undefined) return fail("Cannot connect: the host has no address", "ENOTFOUND");
      next += 1;
      pending += 1;
      if (next < addresses.length) delay = setTimeout(attempt, ATTEMPT_DELAY);
      connect(loop, openSocket(address), { address, port }, timeout).then(
        (end) => {
          if (isSettled) return end.close();
          settle();
          return resolve(end);
        },
        (error: unknown) => {
          pending -= 1;
          if (isSettled) return;
          if (next < addresses.length) return attempt();
          const code = error instanceof NetworkError ? error.code : "ECONNREFUSED";
          if (pending === 0) fail(`Cannot connect to ${where}: ${code}`, code);
        },
      );
    };
    attempt();
  });
}

/** The client's own port is not to be had: somebody else has it, its last connection lingers, or it needs a privilege. */
const PORT_TAKEN: readonly string[] = ["EADDRINUSE", "EADDRNOTAVAIL", "EACCES"];

/**
 * Connects as the client: from its address and, where that is free, its port. The socket is made before this returns, in the network
 * namespace of the caller. Rejects with NetworkError, the system's code in it; ETIMEDOUT after `timeout` ms.
 */
export async function connectFrom(
  loop: Loop,
  options: {
    readonly from: Endpoint;
    readonly to: Endpoint;
    /** ms. */
    readonly timeout: number;
    /** The packets' firewall mark: which rules and routes they meet. */
    readonly mark?: number;
    /** From this port, or not at all. */
    readonly exactly?: boolean;
  },
): Promise<End> {
  const { from, to, timeout, mark, exactly = false } = options;
  const deadline = performance.now() + timeout;
  try {
    return await connect(loop, transparentClient(from, mark), to, timeout);
  } catch (error) {
    if (exactly || from.port === 0 || !(error instanceof NetworkError) || !PORT_TAKEN.includes(error.code)) {
      throw error;
    }
    const left = Math.max(1, deadline - performance.now());
    return await connect(loop, transparentClient({ address: from.address, port: 0 }, mark), to, left);
  }
}
