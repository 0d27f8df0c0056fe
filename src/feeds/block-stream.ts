import type { BlockPlace } from "./pcapng-packets.ts";
import { type Block, newBlock } from "./segments.ts";

/** Bytes in one piece at most. */
export const PIECE = 256 * 1024;
/** What was placed is handed on at the latest after this time, in ms; what belongs to a session that ended, sooner. */
const QUIET = 50;
const SETTLE = 10;

/** Whole pcapng blocks with the number of packets in them. */
export type Deliver = (blocks: Buffer, packets: number) => void;

/** Collects pcapng blocks and hands them on in pieces, as long as there is an audience. */
export interface BlockStream extends BlockPlace {
  /** Somebody new reads on, who knows nothing of the sessions named before; or, with false, nobody reads any more. */
  audience(present: boolean): void;
  /** Hands on what is there. */
  flush(): void;
}

export function createBlockStream(deliver: Deliver): BlockStream {
  const block: Block = newBlock(PIECE);
  let generation = 0;
  let listening = false;
  let used = 0;
  let packets = 0;
  let timer: NodeJS.Timeout | undefined;
  let due = Number.POSITIVE_INFINITY;

  const flush = (): void => {
    clearTimeout(timer);
    due = Number.POSITIVE_INFINITY;
    if (used === 0) return;
    // A copy: sockets take their time, and the block is used again at once.
    const piece = Buffer.allocUnsafeSlow(used);
    block.bytes.copy(piece, 0, 0, used);
    const count = packets;
    used = 0;
    packets = 0;
    deliver(piece, count);
  };
  const flushIn = (delay: number): void => {
    const at = performance.now() + delay;
    if (at >= due) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(flush, delay);
    timer.unref();
  };
  return {
    block,
    get generation() {
      return generation;
    },
    turn() {},
    room(length) {
      if (!listening) return -1;
      if (used + length > PIECE) flush();
      if (used === 0) flushIn(QUIET);
      const at = used;
      used += length;
      packets += 1;
      return at;
    },
    settle() {
      if (used > 0) flushIn(SETTLE);
    },
    audience(present) {
      if (present) flush();
      else used = packets = 0;
      generation += 1;
      listening = present;
    },
    flush,
  };
}
