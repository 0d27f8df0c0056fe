import type { Marks } from "./lane.ts";

/**
 * The code in eight bits of a packet's mark. It carries a decision from one hook to the next, and between the kernel and a worker.
 * WORKER + n: worker n accepts the client. HELD + n: the SYN waits for worker n. From LOCAL_A on, the low four bits are the
 * listener's index. Zero: the packet is not ours.
 */
export const CODE = {
  WORKER: 1,
  HELD: 64,
  INTERCEPT: 128,
  REFUSED: 129,
  HOST_UNREACHABLE: 130,
  NET_UNREACHABLE: 131,
  QUIC: 132,
  PROHIBITED: 133,
  /** The packet goes to one of our sockets: of the client leg, of the server leg. */
  LOCAL_A: 0xa0,
  LOCAL_B: 0xb0,
  /** SIDE_A: packets from the client's side, and the replies of Na and the kernel. SIDE_B: the same for the server's side and Nb. */
  SIDE_A: 0xc0,
  SIDE_B: 0xd0,
  /** Lifted out of a bridge, and forwarded back to it. */
  PASSING: 0xe0,
  /** An ICMP error of this machine's kernel about the server. It is delivered to Nb, not sent to the client. */
  UNREACHED: 0xf0,
} as const;

/** The most listeners that a mark can number. */
export const MAX_LANES = 16;

/** The bits of a code that hold its kind, for any listener. */
export const KIND = 0xf0;

/** The bits that LOCAL_A and LOCAL_B share, for any listener. */
export const LOCAL_KIND = 0xe0;

/** The bits that all codes of one listener share, from LOCAL_A on: the highest bit and its index. */
export const OF_LANE = { code: 0x80, mask: 0x8f } as const;

/** Exclusive or with this turns LOCAL_A into SIDE_A, and LOCAL_B into SIDE_B. */
export const LANDED = 0x60;

/** The code at its position in the 32 bits of a mark. */
export function markOf(code: number, shift: number): number {
  return (code << shift) >>> 0;
}

/** The marks for the verdicts on held SYNs. */
export function readMarks(shift: number, workers: number): Marks {
  return {
    mask: markOf(0xff, shift),
    workers: Array.from({ length: workers }, (_, worker) => markOf(CODE.WORKER + worker, shift)),
    refused: markOf(CODE.REFUSED, shift),
    hostUnreachable: markOf(CODE.HOST_UNREACHABLE, shift),
    netUnreachable: markOf(CODE.NET_UNREACHABLE, shift),
    prohibited: markOf(CODE.PROHIBITED, shift),
  };
}
