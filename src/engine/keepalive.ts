import { libc, memory } from "./native.ts";

/**
 * TCP's keepalives (RFC 9293, section 3.8.4). The kernel answers a peer's probes without a word, so whether there were any is told by
 * its count of segments. Its own begin late, as usual; `probe` sends one now.
 */

const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const TCP = 6;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_INFO = 11;
const ON = number(1);
/** s until a quiet connection is probed without the other side's doing: RFC 9293 asks for two hours. */
const USUAL = number(7_200);
/** s between probes that are not answered, and how many are sent until the peer counts as gone. */
const INTERVAL = number(15);
const MOST = number(6);

/** Of struct tcp_info, in bytes. */
const INFO = { lastDataReceived: 52, lastAckReceived: 56, segmentsIn: 140, size: 144 } as const;
const [info, infoLength, idle] = [memory(INFO.size), memory(4), memory(4)];

/** For a connection, or a listener, whose connections inherit it. */
export function keepAlive(fd: number): void {
  libc.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, ON, ON.length);
  libc.setsockopt(fd, TCP, TCP_KEEPINTVL, INTERVAL, INTERVAL.length);
  libc.setsockopt(fd, TCP, TCP_KEEPCNT, MOST, MOST.length);
}

/** What the kernel has heard of a peer. */
export interface Heard {
  /** Segments since the beginning, of any kind. */
  readonly segments: number;
  /** ms since it last acknowledged something, as its answer to a probe does. */
  readonly acknowledged: number;
  /** ms since it last sent bytes. */
  readonly spoke: number;
}

/** Undefined: this is no TCP connection any more. */
export function readHeard(fd: number): Heard | undefined {
  infoLength.writeUInt32LE(INFO.size);
  if (libc.getsockopt(fd, TCP, TCP_INFO, info, infoLength) !== 0) return undefined;
  return {
    segments: info.readUInt32LE(INFO.segmentsIn),
    acknowledged: info.readUInt32LE(INFO.lastAckReceived),
    spoke: info.readUInt32LE(INFO.lastDataReceived),
  };
}

/**
 * Has the kernel send a keepalive now, and again after as long a time as the peer has been silent: `rest` calls that off. False: it was
 * heard in the last two seconds.
 */
export function probe(fd: number, { acknowledged, spoke }: Heard): boolean {
  // A time that has passed already.
  idle.writeInt32LE(Math.floor(Math.min(acknowledged, spoke) / 1000));
  return idle.readInt32LE() > 1 && libc.setsockopt(fd, TCP, TCP_KEEPIDLE, idle, idle.length) === 0;
}

export function rest(fd: number): void {
  libc.setsockopt(fd, TCP, TCP_KEEPIDLE, USUAL, USUAL.length);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
