import { PeerError } from "../errors.ts";
import { ALERTS } from "./alert.ts";

/**
 * Reads the presentation language of RFC 8446, section 3. A length that goes past the end is a PeerError with
 * decode_error, whose message names `what` is being read; a number stands for an extension of the ClientHello.
 */
export class Reader {
  readonly #bytes: Buffer;
  readonly #what: string | number;
  #at = 0;

  constructor(bytes: Uint8Array, what: string | number) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#number(1);
  }

  u16(): number {
    return this.#number(2);
  }

  u24(): number {
    return this.#number(3);
  }

  /** The next bytes, as a view of the input. */
  take(length: number): Buffer {
    if (length > this.remaining) throw this.#short(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** A vector with a one-byte length: `opaque x<min..2^8-1>`. */
  vector8(min = 0): Buffer {
    return this.#vector(this.u8(), min);
  }

  /** A vector with a two-byte length: `opaque x<min..2^16-1>`. */
  vector16(min = 0): Buffer {
    return this.#vector(this.u16(), min);
  }

  /** A vector with a three-byte length. */
  vector24(): Buffer {
    return this.take(this.u24());
  }

  /** The rest, as two-byte numbers. */
  u16s(): number[] {
    if (this.remaining % 2 !== 0) throw this.#malformed("a list of two-byte values has an odd length");
    const values: number[] = [];
    while (this.remaining > 0) values.push(this.u16());
    return values;
  }

  /** The structure must end here. */
  end(): void {
    if (this.remaining > 0) throw this.#malformed(`it has ${this.remaining} bytes too many`);
  }

  #number(length: 1 | 2 | 3): number {
    if (length > this.remaining) throw this.#short(length);
    let value = 0;
    for (const end = this.#at + length; this.#at < end; this.#at += 1) value = value * 256 + this.#bytes[this.#at]!;
    return value;
  }

  #short(length: number): PeerError {
    return this.#malformed(`it needs ${length} more bytes and has ${this.remaining}`);
  }

  #vector(length: number, min: number): Buffer {
    if (length < min) throw this.#malformed(`a vector has ${length} bytes, below ${min}`);
    return this.take(length);
  }

  #malformed(state: string): PeerError {
    const what = typeof this.#what === "string" ? this.#what : `extension ${this.#what} of the ClientHello`;
    return new PeerError(`Cannot read ${what}: ${state}`, ALERTS.decode_error);
  }
}
