import type { Marks } from "./inline-plan.ts";

/**
 * What eight bits of a packet's mark say, from one hook to the next and between kernel and worker. 1 to 63: the worker of that
 * number plus one accepts the client. Above HELD: its SYN is to wait for that worker. Zero: not ours.
 */
export const CODE = {
  WORKER: 1,
  HELD: 64,
  INTERCEPT: 128,
  LOCAL: 129,
  REFUSED: 130,
  HOST_UNREACHABLE: 131,
  NET_UNREACHABLE: 132,
  QUIC: 133,
} as const;

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
