import { type Block, newBlock } from "./block.ts";
import type { BlockPlace } from "./pcapng-packets.ts";

/** The most bytes in one piece. */
export const PIECE = 256 * 1024;
/** Packets are handed on after this time at most, in ms; those of a session that ended, after the shorter time. */
const QUIET = 50;
const SETTLE = 10;
/** How many numbers readers may have. */
const NUMBERS = 2 ** 32;

/**
 * Takes whole pcapng blocks, with the number of packets in them, and the number of the latest reader that they are for. Answers
 * whether it still needs the memory.
 */
export type Deliver = (blocks: Buffer, packets: number, reader: number) => boolean;

/** Collects pcapng blocks and hands them on in pieces, while the feed has readers. */
export class BlockStream implements BlockPlace {
  block: Block = newBlock(PIECE);
  readonly #deliver: Deliver;
  /** The number of the latest reader, and how often the last one has gone: after that the numbers may begin again at 1. */
  #reader = 0;
  #departures = 0;
  #hasReaders = false;
  #used = 0;
  #packets = 0;
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  get generation(): number {
    return this.#departures * NUMBERS + this.#reader;
  }

  /** Readers from this number on do not know a session that was known in `generation`. */
  labelFor(generation: number): number {
    const isCurrent = Math.floor(generation / NUMBERS) === this.#departures;
    return isCurrent ? (generation % NUMBERS) + 1 : 1;
  }

  turn(): void {}

  room(length: number): number {
    if (!this.#hasReaders) return -1;
    if (this.#used + length > PIECE) this.flush();
    if (this.#used === 0) this.#flushIn(QUIET);
    const at = this.#used;
    this.#used += length;
    this.#packets += 1;
    return at;
  }

  settle(): void {
    if (this.#used > 0) this.#flushIn(SETTLE);
  }

  /** The number of a new reader, who does not know the sessions named before; 0: the last reader has gone. */
  audience(reader: number): void {
    this.#hasReaders = reader > 0;
    if (this.#hasReaders) {
      this.flush();
      this.#reader = reader;
    } else {
      this.#used = this.#packets = 0;
      this.#departures += 1;
    }
  }

  /** Hands on everything that is collected. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#due = Number.POSITIVE_INFINITY;
    if (this.#used === 0) return;
    const piece = this.block.bytes.subarray(0, this.#used);
    const packets = this.#packets;
    this.#used = 0;
    this.#packets = 0;
    // A socket takes most pieces at once. New memory costs more than the bytes in it, so it is only for the others.
    if (this.#deliver(piece, packets, this.#reader)) this.block = newBlock(PIECE);
  }

  #flushIn(delay: number): void {
    const due = performance.now() + delay;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.flush(), delay);
    this.#timer.unref();
  }
}
