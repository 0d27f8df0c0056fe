import type { Marks } from "./lane.ts";

/**
 * What eight bits of a packet's mark say, from one hook to the next and between kernel and worker. 1 to 63: the worker of that
 * number plus one accepts the client. From HELD on: its SYN is to wait for that worker. From LOCAL_A on the low four bits are
 * the listener's index. Zero: not ours.
 */
export const CODE = {
  WORKER: 1,
  HELD: 64,
  INTERCEPT: 128,
  REFUSED: 129,
  HOST_UNREACHABLE: 130,
  NET_UNREACHABLE: 131,
  QUIC: 132,
  /** For a socket of ours: of the client leg, of the server leg. */
  LOCAL_A: 0xa0,
  LOCAL_B: 0xb0,
  /** Of the client's side: what comes from there, and what Na and the kernel answer. Of the server's side: alike, with Nb. */
  SIDE_A: 0xc0,
  SIDE_B: 0xd0,
  /** Lifted out of a bridge, and forwarded all the same. */
  PASSING: 0xe0,
  /** The kernel's own word that Nb cannot reach the server: for Nb, not for the client. */
  UNREACHED: 0xf0,
} as const;

/** Listeners that a mark can tell apart. */
export const MAX_LANES = 16;

/** The bits of a code that say what kind it is, whichever listener's. */
export const KIND = 0xf0;

/** LOCAL_A and LOCAL_B alike, of any listener. */
export const LOCAL_KIND = 0xe0;

/** The bits that all codes of one listener share, from LOCAL_A on: with the highest bit they are its index. */
export const OF_LANE = { code: 0x80, mask: 0x8f } as const;

/** LOCAL_A to SIDE_A and LOCAL_B to SIDE_B, by exclusive or. */
export const LANDED = 0x60;

/** The code at its place in the 32 bits. */
export function markOf(code: number, shift: number): number {
  return (code << shift) >>> 0;
}

/** The marks of a plan: what a verdict on a held SYN writes. */
export function readMarks(shift: number, workers: number): Marks {
  return {
    mask: markOf(0xff, shift),
    workers: Array.from({ length: workers }, (_, worker) => markOf(CODE.WORKER + worker, shift)),
    refused: markOf(CODE.REFUSED, shift),
    hostUnreachable: markOf(CODE.HOST_UNREACHABLE, shift),
    netUnreachable: markOf(CODE.NET_UNREACHABLE, shift),
  };
}
