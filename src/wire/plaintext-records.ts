import { PeerError } from "../errors.ts";
import { Accumulator } from "./accumulator.ts";
import { ALERTS } from "./alert.ts";
import { CONTENT_TYPES } from "./numbers.ts";
import { beginsRecord, HANDSHAKE_HEADER, RECORD_HEADER } from "./record.ts";

/** What came on one side. "unreadable": bytes that are no record of TLS; nothing after them is read. */
export type PlaintextItem =
  | { readonly kind: "message"; readonly type: number; readonly body: Buffer }
  | { readonly kind: "data" }
  /** change_cipher_spec: what follows is encrypted, except in TLS 1.3, where it means nothing. */
  | { readonly kind: "change" }
  | { readonly kind: "unreadable" };

/** The largest handshake message that is read, in bytes: that of a ClientHello. */
const MAX_MESSAGE = 0x10000;

/**
 * Follows one side of a connection that is not ours through its records, in pieces of any size, for as long as they may be
 * plaintext. Alerts are passed over, and change_cipher_spec may be: peers read on behind them (RFC 8446, appendix D.4).
 */
export class PlaintextRecords {
  readonly #header = Buffer.alloc(RECORD_HEADER);
  #headerFilled = 0;
  #type = 0;
  /** Bytes of the current record that are still to come. */
  #left = 0;
  #message = new Accumulator();
  #isReadable = true;

  /** A handshake message has begun and is not complete. */
  get isInMessage(): boolean {
    return this.#message.length > 0;
  }

  /** Throws PeerError for a message above the limit. */
  *read(bytes: Uint8Array): Generator<PlaintextItem> {
    let rest = bytes;
    while (rest.length > 0 && this.#isReadable) {
      if (this.#left === 0) {
        rest = this.#readHeader(rest);
        if (!this.#isReadable) yield { kind: "unreadable" };
        else if (this.#left > 0 && this.#type === CONTENT_TYPES.application_data) yield { kind: "data" };
        else if (this.#left > 0 && this.#type === CONTENT_TYPES.change_cipher_spec) yield { kind: "change" };
        continue;
      }
      const piece = rest.subarray(0, this.#left);
      this.#left -= piece.length;
      rest = rest.subarray(piece.length);
      if (this.#type === CONTENT_TYPES.handshake) yield* this.#readMessages(piece);
    }
  }

  #readHeader(bytes: Uint8Array): Uint8Array {
    const piece = bytes.subarray(0, RECORD_HEADER - this.#headerFilled);
    this.#header.set(piece, this.#headerFilled);
    this.#headerFilled += piece.length;
    this.#isReadable = beginsRecord(this.#header.subarray(0, this.#headerFilled));
    if (this.#headerFilled === RECORD_HEADER) {
      this.#headerFilled = 0;
      this.#type = this.#header[0]!;
      this.#left = this.#header.readUInt16BE(3);
    }
    return bytes.subarray(piece.length);
  }

  *#readMessages(fragment: Uint8Array): Generator<PlaintextItem> {
    for (let rest = fragment; rest.length > 0; ) {
      const piece = rest.subarray(0, this.#wanted() - this.#message.length);
      this.#message.append(piece);
      rest = rest.subarray(piece.length);
      if (this.#message.length < this.#wanted()) continue;
      const { bytes } = this.#message;
      this.#message = new Accumulator();
      yield { kind: "message", type: bytes[0]!, body: bytes.subarray(HANDSHAKE_HEADER) };
    }
  }

  /** The length of the message as far as it is known, with its header. */
  #wanted(): number {
    if (this.#message.length < HANDSHAKE_HEADER) return HANDSHAKE_HEADER;
    const length = this.#message.bytes.readUIntBE(1, 3);
    if (length <= MAX_MESSAGE) return HANDSHAKE_HEADER + length;
    const state = `it has ${length} bytes, above ${MAX_MESSAGE}`;
    throw new PeerError(`Cannot read a handshake message: ${state}`, ALERTS.illegal_parameter);
  }
}
