import { createFrameBatch, type FrameBatch, type PacketSocket } from "../linux/packet-socket.ts";
import { type Block, newBlock } from "./block.ts";

/** The most batches that wait while the kernel has no room. */
const MAX_BATCHES = 64;
const BATCH_SIZE = 256 * 1024;
const BATCH_FRAMES = 1024;
/** ms until the kernel is offered again the frames that it did not take. */
const AGAIN = 1;
const DEFAULT_MTU = 1500;

interface Batch {
  readonly block: Block;
  readonly frames: FrameBatch;
  /** For each frame, how many the kernel makes of it: one, or one for each segment. */
  readonly segments: Uint8Array;
  /** Bytes of the block that are in use. */
  used: number;
  /** The lengths of all frames on the wire together. */
  bytes: number;
}

/** A frame for the kernel, and what it becomes on the wire. */
export interface FrameSize {
  readonly length: number;
  readonly frames: number;
  readonly bytes: number;
}

/** Sends frames in batches. Frames that the kernel does not take wait in memory, up to a bound; beyond it they are left out. */
export class FrameSender {
  readonly counters = { packets: 0, bytes: 0, dropped: 0 };
  readonly #onError: (error: unknown) => void;
  #socket: PacketSocket | undefined;
  /** Frames are placed in this batch, the last of `#waiting`. */
  #batch = newBatch();
  /** Batches that the kernel has not taken yet, oldest first. */
  readonly #waiting: Batch[] = [this.#batch];
  readonly #spare: Batch[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** `onError` is called when the interface is down or gone. Until `use` is called again, frames are left out. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** The block that the last `room` pointed into. */
  get block(): Block {
    return this.#batch.block;
  }

  get mtu(): number {
    return this.#socket?.mtu ?? DEFAULT_MTU;
  }

  /** Every frame begins with the header of `writeOffload`. */
  get hasOffload(): boolean {
    return this.#socket?.hasOffload ?? false;
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  use(socket: PacketSocket): void {
    this.#socket = socket;
  }

  /** Makes room for one frame, `alignment` bytes after a multiple of four, and answers its offset; -1 to leave it out. */
  room(alignment: number, { length, frames, bytes }: FrameSize): number {
    const space = (alignment + length + 3) & ~3;
    const isFull = this.#batch.used + space > BATCH_SIZE || this.#batch.frames.count === BATCH_FRAMES;
    if (this.#socket === undefined || isFull) {
      if (this.#timer === undefined) this.#send();
      if (this.#socket === undefined || this.#waiting.length >= MAX_BATCHES) {
        this.counters.dropped += frames;
        return -1;
      }
      if (this.#batch.used > 0) this.#beginBatch();
    }
    const batch = this.#batch;
    const at = batch.used + alignment;
    batch.segments[batch.frames.count] = frames;
    batch.frames.add(at, length);
    batch.used += space;
    batch.bytes += bytes;
    // Clear the padding: the checksum covers whole words, and bytes of an earlier frame must not be sent.
    batch.block.words[batch.used / 4 - 1] = 0;
    return at;
  }

  /** Sends the frames that were placed, as far as the kernel takes them. */
  flush(): void {
    if (this.#timer === undefined) this.#send();
  }

  close(): void {
    if (this.#timer !== undefined) this.#send();
    this.#stop();
  }

  #beginBatch(): void {
    this.#batch = this.#spare.pop() ?? newBatch();
    this.#waiting.push(this.#batch);
  }

  #send(): void {
    this.#timer = undefined;
    try {
      let more = true;
      while (more) more = this.#sendFirst();
    } catch (error) {
      this.#stop();
      this.#onError(error);
    }
  }

  /** Sends as much of the oldest batch as the kernel takes. Answers whether more can be sent now. */
  #sendFirst(): boolean {
    const [first] = this.#waiting;
    if (this.#socket === undefined || first === undefined || first.frames.count === 0) return false;
    const { frames } = first;
    const before = frames.sent;
    const sent = this.#socket.send(frames);
    this.counters.packets += segmentsOf(first, before, frames.sent);
    if (frames.sent < frames.count) {
      if (sent > 0) return true;
      this.#timer = setTimeout(() => this.#send(), AGAIN);
      this.#timer.unref();
      return false;
    }
    this.counters.bytes += first.bytes;
    clear(first);
    if (first === this.#batch) return false;
    this.#waiting.shift();
    this.#spare.push(first);
    return true;
  }

  /** Closes the socket. Frames that wait are lost. */
  #stop(): void {
    this.#socket?.close();
    this.#socket = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const batch of this.#waiting) {
      this.counters.dropped += segmentsOf(batch, batch.frames.sent, batch.frames.count);
      clear(batch);
    }
    this.#waiting.splice(0, this.#waiting.length, this.#batch);
  }
}

function newBatch(): Batch {
  const block = newBlock(BATCH_SIZE);
  const frames = createFrameBatch(block.bytes, BATCH_FRAMES);
  return { block, frames, segments: new Uint8Array(BATCH_FRAMES), used: 0, bytes: 0 };
}

function segmentsOf({ segments }: Batch, from: number, to: number): number {
  let total = 0;
  for (let index = from; index < to; index++) total += segments[index]!;
  return total;
}

function clear(batch: Batch): void {
  batch.frames.clear();
  batch.used = 0;
  batch.bytes = 0;
}
