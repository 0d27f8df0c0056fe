/** What every message through the store carries: who sent it, when (ms since the epoch), and how many that node sent before. */
export interface Stamp {
  readonly from: string;
  readonly at: number;
  readonly sequence: number;
}

/** ms that the clocks of two nodes may differ, and a message may be under way. */
export const CLOCKS = 60_000;

/**
 * Tells messages that were sent just now from those that the store repeats. A message of a node is heard once, in the order in which the
 * node sent them, and only while it is new: so a message need not be remembered longer than that.
 */
export class Freshness {
  /** The last message that was heard of each node. */
  readonly #heard = new Map<string, Stamp>();

  /** Whether the message is new. Then it is no longer. */
  takes(stamp: Stamp, now: number): boolean {
    if (!isNear(stamp.at, now)) return false;
    const last = this.#heard.get(stamp.from);
    if (last && stamp.sequence <= last.sequence) return false;
    if (!last) for (const [from, { at }] of this.#heard) if (!isNear(at, now)) this.#heard.delete(from);
    this.#heard.set(stamp.from, { from: stamp.from, at: Math.max(stamp.at, last?.at ?? 0), sequence: stamp.sequence });
    return true;
  }
}

/** Whether another node's time may be now. */
export function isNear(at: number, now: number): boolean {
  return Math.abs(now - at) <= CLOCKS;
}
