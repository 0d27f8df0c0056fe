import { NetworkError } from "../errors.ts";
import { transparentClient } from "../linux/sockets.ts";
import type { Endpoint } from "../vocabulary.ts";
import { End } from "./end.ts";
import { type SentHeader, sendHeader } from "./ip-header.ts";
import { keepAlive } from "./keepalive.ts";
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
 * system's code in it; ETIMEDOUT after `timeout` ms. `started` is given the end while it connects: to close it gives up.
 */
export async function connect(
  loop: Loop,
  fd: number,
  to: Endpoint,
  timeout: number,
  started?: (end: End) => void,
): Promise<End> {
  libc.setsockopt(fd, TCP, TCP_NODELAY, ON, ON.length);
  keepAlive(fd);
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
  started?.(end);
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
 * in it; ETIMEDOUT after `timeout` ms. `header`: what the packets say.
 */
export function dial(
  loop: Loop,
  addresses: readonly string[],
  port: number,
  timeout: number,
  header: SentHeader = {},
): Promise<End> {
  return new Promise((resolve, reject) => {
    new Dialling(loop, addresses, port, { timeout, header }, resolve, reject).start();
  });
}

class Dialling {
  readonly #loop: Loop;
  readonly #addresses: readonly string[];
  readonly #port: number;
  readonly #timeout: number;
  readonly #header: SentHeader;
  readonly #resolve: (end: End) => void;
  readonly #reject: (error: unknown) => void;
  /** Ends that connect. */
  readonly #attempts = new Set<End>();
  #next = 0;
  #pending = 0;
  #isSettled = false;
  #delay: NodeJS.Timeout | undefined;
  #late: NodeJS.Timeout | undefined;

  constructor(
    loop: Loop,
    addresses: readonly string[],
    port: number,
    { timeout, header }: { readonly timeout: number; readonly header: SentHeader },
    resolve: (end: End) => void,
    reject: (error: unknown) => void,
  ) {
    this.#loop = loop;
    this.#addresses = addresses;
    this.#port = port;
    this.#timeout = timeout;
    this.#header = header;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    if (this.#addresses.length === 0) {
      this.#reject(new NetworkError("Cannot connect: the host has no address", "ENOTFOUND"));
      return;
    }
    this.#late = setTimeout(() => this.#fail(` in ${this.#timeout} ms`, "ETIMEDOUT"), this.#timeout);
    this.#attempt();
  }

  readonly #attempt = (): void => {
    clearTimeout(this.#delay);
    const address = this.#addresses[this.#next]!;
    this.#next += 1;
    this.#pending += 1;
    if (this.#next < this.#addresses.length) this.#delay = setTimeout(this.#attempt, ATTEMPT_DELAY);
    this.#connect(address).then(
      (end) => this.#connected(end),
      (error: unknown) => this.#failed(error),
    );
  };

  async #connect(address: string): Promise<End> {
    let own: End | undefined;
    try {
      const fd = openSocket(address);
      sendHeader(fd, address, this.#header);
      return await connect(this.#loop, fd, { address, port: this.#port }, this.#timeout, (end) => {
        own = end;
        this.#attempts.add(end);
      });
    } finally {
      if (own) this.#attempts.delete(own);
    }
  }

  #connected(end: End): void {
    // Two may connect at the same time.
    if (this.#isSettled) {
      end.close();
      return;
    }
    this.#settle();
    this.#resolve(end);
  }

  #failed(error: unknown): void {
    this.#pending -= 1;
    if (this.#isSettled) return;
    if (!(error instanceof NetworkError)) {
      this.#settle();
      this.#reject(error);
    } else if (this.#next < this.#addresses.length) this.#attempt();
    else if (this.#pending === 0) this.#fail(`: ${error.code}`, error.code, error);
  }

  #fail(why: string, code: string, cause?: Error): void {
    this.#settle();
    const where = `${this.#addresses.join(", ")} port ${this.#port}`;
    const message = `Cannot connect to ${where}${why}`;
    this.#reject(new NetworkError(message, code, { cause }));
  }

  /** The attempts that have not been answered are given up. */
  #settle(): void {
    this.#isSettled = true;
    clearTimeout(this.#late);
    clearTimeout(this.#delay);
    for (const end of this.#attempts) end.close();
  }
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
    /** What the packets say. */
    readonly header?: SentHeader;
    /** From this port, or not at all. */
    readonly exactly?: boolean;
  },
): Promise<End> {
  const { from, to, timeout, mark, header = {}, exactly = false } = options;
  const deadline = performance.now() + timeout;
  const socketFrom = (end: Endpoint) => {
    const fd = transparentClient(end, mark);
    sendHeader(fd, end.address, header);
    return fd;
  };
  try {
    return await connect(loop, socketFrom(from), to, timeout);
  } catch (error) {
    if (exactly || from.port === 0 || !(error instanceof NetworkError) || !PORT_TAKEN.includes(error.code)) {
      throw error;
    }
    const left = Math.max(1, deadline - performance.now());
    return await connect(loop, socketFrom({ address: from.address, port: 0 }), to, left);
  }
}
