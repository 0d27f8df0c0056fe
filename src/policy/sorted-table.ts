import { Buffer } from "node:buffer";

/**
 * A sorted set of short strings in one block of bytes, searched by halving. Half a million of them cost no object each, and
 * processes that map the same file share them.
 *
 * The block: the number of strings, where each ends (32-bit, little-endian, from the start of the text), and the text.
 */
export class SortedTable {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #ends: Uint32Array;
  readonly #text: number;

  /** Takes what `packTable` made. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.size = new Uint32Array(bytes.buffer, bytes.byteOffset, 1)[0] ?? 0;
    this.#ends = new Uint32Array(bytes.buffer, bytes.byteOffset + 4, this.size);
    this.#text = 4 + 4 * this.size;
  }

  has(key: string): boolean {
    const wanted = Buffer.from(key);
    const at = this.#search(wanted, false);
    return at < this.size && this.#end(at) - this.#start(at) === wanted.length && this.#compare(at, wanted) === 0;
  }

  /** How many begin with this. */
  count(prefix: string): number {
    const wanted = Buffer.from(prefix);
    return this.#search(wanted, true) - this.#search(wanted, false);
  }

  /** What follows the prefix in those that begin with it, in order; at most `most`. */
  after(prefix: string, most: number = Number.POSITIVE_INFINITY): string[] {
    const wanted = Buffer.from(prefix);
    const found: string[] = [];
    for (let at = this.#search(wanted, false); at < this.size && found.length < most; at += 1) {
      if (this.#compare(at, wanted) !== 0) break;
      const { buffer, byteOffset } = this.#bytes;
      const start = this.#start(at) + wanted.length;
      found.push(Buffer.from(buffer, byteOffset + start, this.#end(at) - start).toString("latin1"));
    }
    return found;
  }

  /** The first that does not come before the key, or, `past`, the first after all that begin with it. */
  #search(key: Uint8Array, past: boolean): number {
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.#compare(middle, key);
      if (order < 0 || (past && order === 0)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Below 0: the string at this position comes before the key; 0: it begins with the key. */
  #compare(at: number, key: Uint8Array): number {
    const start = this.#start(at);
    const length = this.#end(at) - start;
    for (let index = 0; index < key.length; index += 1) {
      if (index === length) return -1;
      const difference = (this.#bytes[start + index] ?? 0) - (key[index] ?? 0);
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #start(at: number): number {
    return at === 0 ? this.#text : this.#end(at - 1);
  }

  #end(at: number): number {
    return this.#text + (this.#ends[at] ?? 0);
  }
}

/** Packs ASCII strings into a table's bytes. */
export function packTable(keys: string[]): Uint8Array<ArrayBuffer> {
  const sorted = keys.sort().filter((key, index) => key !== keys[index - 1]);
  const text = sorted.join("");
  const bytes = new Uint8Array(4 + 4 * sorted.length + text.length);
  const numbers = new Uint32Array(bytes.buffer, 0, 1 + sorted.length);
  numbers[0] = sorted.length;
  let end = 0;
  for (const [index, key] of sorted.entries()) {
    end += key.length;
    numbers[index + 1] = end;
  }
  Buffer.from(bytes.buffer).write(text, 4 + 4 * sorted.length, "latin1");
  return bytes;
}
