const FIRST_CAPACITY = 512;
const EMPTY: Buffer = Buffer.alloc(0);

/**
 * Collects bytes that arrive in pieces. The buffer doubles when it is full, so the cost per byte is constant. It grows with
 * the bytes that arrived, never with a length that the peer only announced.
 */
export class Accumulator {
  #bytes = EMPTY;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** A view of all bytes so far, valid until the next `append`. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(length, 2 * this.#bytes.length, FIRST_CAPACITY));
      grown.set(this.bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }
}
