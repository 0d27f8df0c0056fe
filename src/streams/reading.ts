import type { End } from "../engine/end.ts";
import { END, NOTHING_NOW, RESET } from "../engine/layer.ts";
import { SCRATCH, type Task } from "../engine/loop.ts";
import { InvariantError, NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";

/** The first bytes of a flow. They stay with their ends: whoever reads next gets them again. */
export interface Reading<T> {
  /** Undefined: a side ended its stream before there was an answer. */
  readonly answer: T | undefined;
  /** What was read from each side, as copies. */
  readonly client: Buffer;
  readonly server: Buffer;
}

export interface Timing {
  /** ms without any byte before the first. */
  readonly silence: number;
  /** ms between two bytes of something unfinished. */
  readonly gap: number;
  /** ms from the first byte to the answer; absent: what `wholeOf` says of the gap. */
  readonly whole?: number;
}

/**
 * ms in which something must be whole once it has begun: twice the gap. A peer that sends a byte just before each gap ends would hold
 * its place for hours.
 */
export function wholeOf(gap: number): number {
  return 2 * gap;
}

/** No opening is longer, in bytes of one side: the readers end far below. */
const LONGEST = 4 * SCRATCH;
/** Bytes that the kernel holds for a connection that nobody reads are bounded: beyond this, they are taken off and put back. */
const PEEKED = 32 * 1024;

/**
 * Shows what arrives to `judge`, in order, until it answers. What `judge` throws is thrown; a reset or a timeout is a
 * NetworkError.
 */
export function readUntil<T>(
  ends: { readonly client: End; readonly server?: End },
  judge: (side: Side, bytes: Buffer) => T | undefined,
  timing: Timing,
): Promise<Reading<T>> {
  return new Promise((resolve, reject) => {
    new OpeningReader<T>(ends, judge, timing, resolve, reject).start();
  });
}

class OpeningReader<T> implements Task {
  queued = false;
  readonly #sides: readonly SideReader[];
  readonly #judge: (side: Side, bytes: Buffer) => T | undefined;
  readonly #timing: Timing;
  readonly #resolve: (reading: Reading<T>) => void;
  readonly #reject: (error: unknown) => void;
  #gap: NodeJS.Timeout | undefined;
  #whole: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(
    { client, server }: { readonly client: End; readonly server?: End },
    judge: (side: Side, bytes: Buffer) => T | undefined,
    timing: Timing,
    resolve: (reading: Reading<T>) => void,
    reject: (error: unknown) => void,
  ) {
    this.#sides = [new SideReader("client", client), ...(server ? [new SideReader("server", server)] : [])];
    this.#judge = judge;
    this.#timing = timing;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    this.#gap = setTimeout(this.#fallSilent, this.#timing.silence);
    const [client] = this.#sides;
    for (const { end } of this.#sides) end.task = this;
    client!.end.loop.enqueue(this);
  }

  run(): boolean {
    if (this.#isOver) return false;
    for (const one of this.#sides) {
      for (let bytes = one.next(); bytes !== undefined; bytes = one.next()) {
        // A side has ended its stream: there is no answer to come.
        if (bytes === "ended") return this.#settle(undefined);
        const answer = this.#judge(one.side, bytes);
        if (answer !== undefined) return this.#settle(answer);
        this.#hasRead();
      }
    }
    return false;
  }

  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#close();
    this.#reject(error);
  }

  #hasRead(): void {
    if (this.#whole) {
      this.#gap?.refresh();
      return;
    }
    const { gap, whole = wholeOf(gap) } = this.#timing;
    this.#whole = setTimeout(this.#expire, whole, "The client began and did not come to an end in time");
    clearTimeout(this.#gap);
    this.#gap = setTimeout(this.#fallSilent, gap);
  }

  readonly #fallSilent = (): void => {
    const hasBegun = this.#sides[0]!.bytes.length > 0;
    this.#expire(hasBegun ? "The client began and then sent nothing more in time" : "The client sent nothing in time");
  };

  readonly #expire = (what: string): void => this.fail(new NetworkError(what, "ETIMEDOUT"));

  #settle(answer: T | undefined): false {
    this.#close();
    const [client, server] = this.#sides;
    this.#resolve({ answer, client: client!.bytes, server: server?.bytes ?? NOTHING });
    return false;
  }

  #close(): void {
    this.#isOver = true;
    clearTimeout(this.#gap);
    clearTimeout(this.#whole);
    for (const one of this.#sides) {
      if (one.end.task === this) one.end.task = undefined;
      one.putBack();
    }
  }
}

const NOTHING = Buffer.alloc(0);

/** One side's bytes: looked at where they are as long as the socket holds them, else read and put back. */
class SideReader {
  readonly side: Side;
  readonly end: End;
  /** All of them, in a buffer that doubles: a peer may send them one by one. */
  bytes: Buffer = NOTHING;
  #room: Buffer = NOTHING;
  #taken: boolean;

  constructor(side: Side, end: End) {
    this.side = side;
    this.end = end;
    this.#taken = end.isLayered || end.hasUnread;
  }

  /** The next bytes, as a copy; "ended": there will be none; undefined: there are none now. Throws NetworkError. */
  next(): Buffer | "ended" | undefined {
    const fresh = this.#taken ? this.#read() : this.#peek();
    if (typeof fresh !== "object") return fresh;
    this.#append(fresh);
    if (this.bytes.length > LONGEST) {
      throw new InvariantError(`No reader answered for the first ${LONGEST} bytes of a ${this.side}`);
    }
    return fresh;
  }

  #append(fresh: Buffer): void {
    // Mostly the first bytes are all.
    if (this.bytes.length === 0) {
      this.bytes = this.#room = fresh;
      return;
    }
    const length = this.bytes.length + fresh.length;
    if (length > this.#room.length) {
      this.#room = Buffer.alloc(Math.max(length, 2 * this.#room.length));
      this.bytes.copy(this.#room);
    }
    fresh.copy(this.#room, this.bytes.length);
    this.bytes = this.#room.subarray(0, length);
  }

  putBack(): void {
    if (this.#taken) this.end.unread(this.bytes);
  }

  #peek(): Buffer | "ended" | undefined {
    let all: Buffer | undefined;
    try {
      all = this.end.peek();
    } catch (error) {
      if (error instanceof NetworkError && error.code === "EOF") return "ended";
      throw this.#broken(error);
    }
    const known = this.bytes.length;
    if (all && all.length > known) {
      const fresh = Buffer.from(all.subarray(known));
      if (all.length >= PEEKED) {
        this.end.consume(all.length);
        this.#taken = true;
      }
      return fresh;
    }
    // The kernel stops in front of an urgent byte until what is there was taken off.
    if (all && this.end.hasUrgent) {
      this.end.consume(all.length);
      this.#taken = true;
      return this.#read();
    }
    return this.end.hasLeft ? "ended" : undefined;
  }

  #read(): Buffer | "ended" | undefined {
    const { scratch, scratchAt } = this.end.loop;
    const length = this.end.read(scratchAt, SCRATCH);
    if (length > 0) return Buffer.from(scratch.subarray(0, length));
    if (length === NOTHING_NOW) return undefined;
    if (length === END) return "ended";
    throw this.#broken(length === RESET ? this.end.closedFor : this.end.layer?.failure?.code);
  }

  #broken(cause: unknown): NetworkError {
    const code = cause instanceof NetworkError ? cause.code : "ECONNRESET";
    if (cause instanceof NetworkError && code !== "ECONNRESET") return cause;
    return new NetworkError(`The ${this.side} reset its connection`, code, { cause, side: this.side });
  }
}
