import { InvariantError } from "../errors.ts";
import { SCRATCH } from "./loop.ts";
import { crypto, memory } from "./native.ts";

/**
 * What OpenSSL writes records into: pairs of memory BIOs. OpenSSL writes into `inner`, the engine reads from `outer` and
 * sends. Ends without unsent bytes share one pair, so that an idle session holds none; an end whose socket takes no more keeps
 * its pair until all of it is sent.
 *
 * The shared pair is empty whenever no end is at work: `work` is the only function that lends it, and whoever leaves bytes in
 * it takes it away. So the records of one session cannot reach the socket of another.
 */

export interface Pair {
  readonly inner: number;
  readonly outer: number;
}

/** Room for the largest write with its record headers, and for what OpenSSL has to say by itself. In bytes. */
const PAIR_SIZE = SCRATCH + 32 * 1024;
/** Pairs that are kept for the next end that needs one. */
const MOST_SPARE = 64;

const word = memory(8);
const words = new BigUint64Array(word.buffer, word.byteOffset, 1);

export class Writer {
  #shared = newPair();
  readonly #spare: Pair[] = [];
  #isLent = false;
  #lent = 0;

  /** Pairs that ends keep because their sockets take no more. */
  get lent(): number {
    return this.#lent;
  }

  /**
   * Lends a pair for the time of the layer's `act`, then sends what is in it: the layer's own pair when it has one, in which
   * unsent bytes wait already, else the shared one. Afterwards the layer has a pair of its own exactly when bytes are left.
   */
  work(layer: Writing): void {
    if (this.#isLent) throw new InvariantError("The write pair is lent already");
    this.#isLent = true;
    const own = layer.pair;
    const pair = own ?? this.#shared;
    try {
      layer.act(pair);
    } finally {
      this.#isLent = false;
      // Also after an exception: nothing may stay in the shared pair.
      const isEmpty = drain(pair, layer);
      if (isEmpty && own) {
        layer.pair = undefined;
        this.#takeBack(own);
      } else if (!isEmpty && !own) {
        layer.pair = pair;
        this.#replaceShared();
      }
    }
  }

  /** Sends what waits in the layer's own pair. */
  flush(layer: Writing): void {
    const own = layer.pair;
    if (!own || !drain(own, layer)) return;
    layer.pair = undefined;
    this.#takeBack(own);
  }

  /** The layer is freed: what it had not sent is dropped. */
  discard(layer: Writing): void {
    const own = layer.pair;
    if (!own) return;
    layer.pair = undefined;
    drain(own, NOWHERE);
    this.#takeBack(own);
  }

  /** Frees the pairs that no layer has. Every layer must have been freed. */
  close(): void {
    for (const pair of [this.#shared, ...this.#spare.splice(0)]) releasePair(pair);
  }

  #replaceShared(): void {
    this.#lent += 1;
    this.#shared = this.#spare.pop() ?? newPair();
  }

  #takeBack(pair: Pair): void {
    this.#lent -= 1;
    if (this.#spare.length < MOST_SPARE) this.#spare.push(pair);
    else releasePair(pair);
  }
}

/** Who writes through a pair. */
export interface Writing {
  /** The pair in which its unsent bytes wait. Only the writer sets it. */
  pair: Pair | undefined;
  /** Has OpenSSL write into this pair's `inner`, and nothing else. */
  act(pair: Pair): void;
  /** How many of these bytes were taken: fewer when there is no room now, -1 when the connection is broken. */
  send(at: number, length: number): number;
}

/** Takes bytes and drops them. */
const NOWHERE: Pick<Writing, "send"> = { send: () => -1 };

/** Sends what is in the pair. True: it is empty now. */
export function drain({ outer }: Pair, to: Pick<Writing, "send">): boolean {
  for (;;) {
    const there = crypto.BIO_nread0(outer, word);
    if (there <= 0) return true;
    const sent = to.send(Number(words[0]), there);
    // A broken connection takes everything and sends nothing.
    crypto.BIO_nread(outer, word, sent < 0 ? there : sent);
    if (sent >= 0 && sent < there) return false;
  }
}

export function newPair(): Pair {
  const [inner, outer] = [memory(8), memory(8)];
  if (crypto.BIO_new_bio_pair(inner, PAIR_SIZE, outer, 1) !== 1) throw new InvariantError("BIO_new_bio_pair failed");
  return { inner: Number(inner.readBigUInt64LE()), outer: Number(outer.readBigUInt64LE()) };
}

/** BIO_C_SET_WRITE_BUF_SIZE: a BIO without its peer frees its buffer when it gets another size. */
const SET_WRITE_BUF_SIZE = 136;

/**
 * An SSL that still points to one of its BIOs holds a reference of its own, until it writes again. That may take hours, so the
 * memory of the pair is not left to it.
 */
export function releasePair({ inner, outer }: Pair): void {
  crypto.BIO_free(outer);
  crypto.BIO_ctrl(inner, SET_WRITE_BUF_SIZE, 1, 0);
  crypto.BIO_free(inner);
}
