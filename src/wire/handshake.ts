import { PeerError } from "../errors.ts";
import { Accumulator } from "./accumulator.ts";
import { ALERTS } from "./alert.ts";
import { CONTENT_TYPES } from "./numbers.ts";
import { HANDSHAKE_HEADER, MAX_FRAGMENT, RECORD_HEADER } from "./record.ts";

/** The next item in a plaintext stream of records. */
export type HandshakeStep =
  /** A whole handshake message. The caller may keep the body. */
  | { readonly kind: "message"; readonly type: number; readonly body: Buffer }
  | { readonly kind: "alert"; readonly level: number; readonly description: number }
  /** A record of another type: the plaintext handshake is over, and nothing after it is read. */
  | { readonly kind: "other"; readonly contentType: number }
  /** The first bytes are not a TLS record: nothing after them is read. */
  | { readonly kind: "no" }
  | { readonly kind: "more" };

export interface HandshakeLimits {
  /** The content types that the first record may have. */
  readonly first: readonly number[];
  /** The largest body of one message, in bytes. */
  readonly message: number;
  /** All records together, with their headers, in bytes. */
  readonly total: number;
  /** Called with a message's type before its body has arrived; throws to refuse the message. */
  readonly admit?: (type: number) => void;
}

/** SSL_R_RECORD_TOO_SMALL of OpenSSL comes after as many. */
const MAX_EMPTY = 32;

const NOTHING = Buffer.alloc(0);
const MORE: HandshakeStep = { kind: "more" };
const NO: HandshakeStep = { kind: "no" };

/**
 * Joins handshake messages from records that arrive in pieces of any size: RFC 8446, section 5.1. Every byte is read once.
 */
export class HandshakeStream {
  readonly #limits: HandshakeLimits;
  #input: Uint8Array = NOTHING;
  #total = 0;
  readonly #header = Buffer.alloc(RECORD_HEADER);
  #headerFilled = 0;
  /** How many bytes of the current record are still to be read. */
  #left = 0;
  /** Empty records that came one after the other. */
  #empty = 0;
  #alert: number[] = [];
  /** The incomplete message, with its header. */
  #message = new Accumulator();
  #wanted = HANDSHAKE_HEADER;

  constructor(limits: HandshakeLimits) {
    this.#limits = limits;
  }

  /** Gives the stream its next bytes. Call `next` until it answers "more", then push again. */
  push(bytes: Uint8Array): void {
    this.#input = bytes;
  }

  /** Reads the next item. Throws PeerError when the bytes break the record layer or a limit. */
  next(): HandshakeStep {
    for (;;) {
      const waiting = this.#left === 0 ? this.#readHeader() : undefined;
      if (waiting) return waiting;
      const contentType = this.#header[0]!;
      if (contentType !== CONTENT_TYPES.handshake && contentType !== CONTENT_TYPES.alert) {
        return { kind: "other", contentType };
      }
      if (this.#left === 0) continue;
      if (this.#input.length === 0) return MORE;
      const step = contentType === CONTENT_TYPES.alert ? this.#readAlert() : this.#readMessage();
      if (step) return step;
    }
  }

  /** Undefined: the header is complete, and its record has bytes to read. */
  #readHeader(): HandshakeStep | undefined {
    const piece = this.#take(RECORD_HEADER - this.#headerFilled);
    this.#header.set(piece, this.#headerFilled);
    this.#headerFilled += piece.length;
    if (this.#total === 0 && !this.#isTls()) return NO;
    if (this.#headerFilled < RECORD_HEADER) return MORE;
    this.#headerFilled = 0;
    this.#left = this.#header.readUInt16BE(3);
    const contentType = this.#header[0]!;
    if (contentType === CONTENT_TYPES.handshake || contentType === CONTENT_TYPES.alert) this.#checkRecord(contentType);
    return undefined;
  }

  /** Two bytes tell: a content type that may come first, and the major version 3, the same since SSL 3.0. */
  #isTls(): boolean {
    const [type, major] = this.#header.subarray(0, this.#headerFilled);
    return (type === undefined || this.#limits.first.includes(type)) && (major === undefined || major === 3);
  }

  #checkRecord(contentType: number): void {
    if (contentType === CONTENT_TYPES.alert && this.#left !== 2) {
      throw new PeerError(`Cannot read an alert: its record has ${this.#left} bytes, not 2`, ALERTS.decode_error);
    }
    // RFC 8446, section 5.1, forbids empty handshake records, but OpenSSL reads past as many.
    this.#empty = this.#left === 0 ? this.#empty + 1 : 0;
    if (this.#empty > MAX_EMPTY) {
      const message = `Cannot read the handshake: more than ${MAX_EMPTY} empty records come in a row`;
      throw new PeerError(message, ALERTS.unexpected_message);
    }
    if (this.#left > MAX_FRAGMENT) {
      throw new PeerError(
        `Cannot read a record: it has ${this.#left} bytes, above ${MAX_FRAGMENT}`,
        ALERTS.record_overflow,
      );
    }
    this.#total += RECORD_HEADER + this.#left;
    if (this.#total > this.#limits.total) {
      const { total } = this.#limits;
      throw new PeerError(`Cannot read the handshake: its records exceed ${total} bytes`, ALERTS.illegal_parameter);
    }
  }

  #readMessage(): HandshakeStep | undefined {
    const piece = this.#take(Math.min(this.#left, this.#wanted - this.#message.length));
    this.#left -= piece.length;
    if (this.#message.length === 0) this.#limits.admit?.(piece[0]!);
    this.#message.append(piece);
    if (this.#wanted === HANDSHAKE_HEADER && this.#message.length === HANDSHAKE_HEADER) this.#readLength();
    return this.#message.length === this.#wanted ? this.#finish() : undefined;
  }

  #readLength(): void {
    const length = this.#message.bytes.readUIntBE(1, 3);
    const limit = this.#limits.message;
    if (length > limit) {
      throw new PeerError(
        `Cannot read a handshake message: it has ${length} bytes, above ${limit}`,
        ALERTS.illegal_parameter,
      );
    }
    this.#wanted += length;
  }

  #finish(): HandshakeStep {
    const { bytes } = this.#message;
    this.#message = new Accumulator();
    this.#wanted = HANDSHAKE_HEADER;
    return { kind: "message", type: bytes[0]!, body: bytes.subarray(HANDSHAKE_HEADER) };
  }

  #readAlert(): HandshakeStep | undefined {
    const piece = this.#take(this.#left);
    this.#left -= piece.length;
    this.#alert.push(...piece);
    if (this.#left > 0) return undefined;
    const [level, description] = this.#alert;
    this.#alert = [];
    return { kind: "alert", level: level!, description: description! };
  }

  /** Takes at most so many bytes from the input. */
  #take(most: number): Uint8Array {
    const piece = this.#input.subarray(0, most);
    this.#input = this.#input.subarray(piece.length);
    return piece;
  }
}
