import type { Frame, TcpSegment } from "./frame.ts";

/** A TCP segment with its time and its ends. */
export interface Seen extends TcpSegment {
  readonly time: number;
  readonly source: string;
  readonly destination: string;
}

/** The TCP segments to and from one port of the server, in order. */
export function segmentsOf(frames: readonly Frame[], serverPort: number): readonly Seen[] {
  return frames.flatMap(({ time, ip }) => {
    const tcp = ip?.tcp;
    if (ip === undefined || tcp === undefined || (tcp.from !== serverPort && tcp.to !== serverPort)) return [];
    return [{ ...tcp, time, source: ip.source, destination: ip.destination }];
  });
}

/** The first segment with exactly these flags. */
export function firstWith(segments: readonly Seen[], flags: string): Seen | undefined {
  return segments.find((segment) => segment.flags === flags);
}

/** All bytes toward the server's port, in order and without repetitions. */
export function bytesToward(segments: readonly Seen[], serverPort: number): Buffer {
  const own = segments.filter(({ to, payload }) => to === serverPort && payload.length > 0);
  const unique = new Map(own.map(({ sequence, payload }) => [sequence, payload]));
  return Buffer.concat([...unique].sort(([a], [b]) => a - b).map(([, payload]) => payload));
}
