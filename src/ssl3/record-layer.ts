import { timingSafeEqual } from "node:crypto";
import { PeerError } from "../errors.ts";
import { VERSIONS } from "../vocabulary.ts";
import { Accumulator } from "../wire/accumulator.ts";
import { ALERTS } from "../wire/alert.ts";
import { CONTENT_TYPES } from "../wire/numbers.ts";
import { MAX_FRAGMENT, RECORD_HEADER } from "../wire/record.ts";
import { type BulkCipher, CIPHERS, createDecryptor, createEncryptor } from "./bulk-cipher.ts";
import type { WriteKeys } from "./derivation.ts";
import { createMac, evenOut, MACS, type Mac } from "./mac.ts";
import type { Suite } from "./suites.ts";

/** A record's plaintext. `contentType` SSLV2_HELLO: the body of an SSLv2-format hello, which is no record of SSL 3.0. */
export interface Content {
  readonly contentType: number;
  readonly content: Buffer;
}

export const SSLV2_HELLO = 0x80;

/** RFC 6101, section 5.2.3: what compression and encryption may add to a fragment, in bytes. */
const MAX_EXPANSION = 2048;
const SSLV2_HEADER = 2;
/** Records without content that may follow one another: each costs us work and the peer next to nothing. */
const MAX_EMPTY = 32;

/** Protection in one direction: RFC 6101, section 5.2.3. */
interface Protection {
  readonly suite: Suite;
  readonly mac: Mac;
  readonly cipher: BulkCipher;
}

/** Takes records apart: bytes in, in pieces of any size, and plaintext out once its MAC has been found right. */
export class RecordReader {
  #input: Buffer = Buffer.alloc(0);
  /** The beginning of a record whose end has not come. */
  #partial = new Accumulator();
  #protection: Protection | undefined;
  #sequence = 0;
  #empty = 0;
  #any: "hello" | "version" | "none";

  /** Before SSL 3.0 is agreed upon, records may bear another version; a "hello" may have the format of SSL 2.0. */
  constructor(first: "hello" | "version") {
    this.#any = first;
  }

  /** From here on every record is one of SSL 3.0. */
  agree(): void {
    this.#any = "none";
  }

  /** From here on records are protected by these keys, which are the peer's. */
  protect(suite: Suite, { macSecret, key, iv }: WriteKeys): void {
    const mac = createMac(suite.mac, macSecret);
    this.#protection = { suite, mac, cipher: createDecryptor(suite.cipher, key, iv) };
    this.#sequence = 0;
  }

  /** The bytes belong to the reader from then on. Call `next` until it answers undefined, then push again. */
  push(bytes: Buffer): void {
    this.#input = bytes;
  }

  /** The next record; undefined: more bytes are needed. Throws PeerError. */
  next(): Content | undefined {
    const whole = this.#take();
    if (!whole) return undefined;
    if ((whole[0]! & SSLV2_HELLO) !== 0) return { contentType: SSLV2_HELLO, content: whole };
    const contentType = whole[0]!;
    const fragment = whole.subarray(RECORD_HEADER);
    const content = this.#protection ? this.#open(this.#protection, contentType, fragment) : fragment;
    if (content.length > MAX_FRAGMENT) {
      throw new PeerError(`Cannot read a record: its content has ${content.length} bytes`, ALERTS.record_overflow);
    }
    this.#empty = content.length === 0 ? this.#empty + 1 : 0;
    if (this.#empty > MAX_EMPTY)
      throw new PeerError("Cannot go on: only empty records come", ALERTS.unexpected_message);
    return { contentType, content };
  }

  /** One record with its header. Of a partial one, as much memory is held as has arrived. */
  #take(): Buffer | undefined {
    if (this.#partial.length === 0) {
      const length = this.#lengthOf(this.#input);
      if (length !== undefined && this.#input.length >= length) return this.#cut(length);
    }
    for (;;) {
      const { bytes } = this.#partial;
      const length = this.#lengthOf(bytes);
      if (length !== undefined && bytes.length === length) {
        this.#partial = new Accumulator();
        return bytes;
      }
      if (this.#input.length === 0) return undefined;
      const wanted = length ?? (bytes.length < SSLV2_HEADER ? SSLV2_HEADER : RECORD_HEADER);
      this.#partial.append(this.#cut(wanted - bytes.length));
    }
  }

  #cut(length: number): Buffer {
    const piece = this.#input.subarray(0, length);
    this.#input = this.#input.subarray(length);
    return piece;
  }

  /** The whole length of the record that begins so; undefined: its header is not there yet. */
  #lengthOf(bytes: Buffer): number | undefined {
    const first = bytes[0];
    if (first === undefined) return undefined;
    if ((first & SSLV2_HELLO) !== 0 && this.#any === "hello") {
      return bytes.length < SSLV2_HEADER ? undefined : SSLV2_HEADER + (bytes.readUInt16BE(0) & 0x7fff);
    }
    if (first < CONTENT_TYPES.change_cipher_spec || first > CONTENT_TYPES.application_data) {
      throw new PeerError(`Cannot read a record: its type is ${first}`, ALERTS.unexpected_message);
    }
    if (bytes.length < RECORD_HEADER) return undefined;
    const version = bytes.readUInt16BE(1);
    if (this.#any === "none" ? version !== VERSIONS.SSLv3 : version >> 8 !== 3) {
      throw new PeerError(`Cannot read a record: its version is ${version}, not SSL 3.0`, ALERTS.illegal_parameter);
    }
    const length = bytes.readUInt16BE(3);
    if (length > MAX_FRAGMENT + (this.#protection ? MAX_EXPANSION : 0)) {
      throw new PeerError(`Cannot read a record: it has ${length} bytes`, ALERTS.record_overflow);
    }
    return RECORD_HEADER + length;
  }

  /**
   * Decrypts, then checks the MAC, and only then believes the padding (RFC 6101, section 5.2.3.2): whatever is wrong, the
   * work and the answer are the same. Nothing of it covers the padding's content: that is POODLE, and is SSL 3.0's own.
   */
  #open({ suite, mac, cipher }: Protection, contentType: number, fragment: Buffer): Buffer {
    const { block } = CIPHERS[suite.cipher];
    const { size } = MACS[suite.mac];
    const padded = block > 1;
    if (fragment.length % block !== 0 || fragment.length < size + (padded ? 1 : 0)) throw notAuthentic();
    const plaintext = cipher(fragment);
    const longest = plaintext.length - size - (padded ? 1 : 0);
    const padding = padded ? plaintext[plaintext.length - 1]! : 0;
    // All ones when the padding is shorter than a block and leaves room for a MAC; without a branch on what it is.
    const good = (padding - Math.min(block, longest + 1)) >> 31;
    const length = longest - (padding & good);
    const expected = mac(this.#sequence, contentType, plaintext.subarray(0, length));
    if (padded) evenOut(suite.mac, length, longest);
    const authentic = timingSafeEqual(expected, plaintext.subarray(length, length + size));
    if (!authentic || good === 0) throw notAuthentic();
    this.#sequence += 1;
    return plaintext.subarray(0, length);
  }
}

function notAuthentic(): PeerError {
  return new PeerError("Cannot read a record: it is not authentic", ALERTS.bad_record_mac);
}

/** Puts records together. */
export class RecordWriter {
  #protection: Protection | undefined;
  #sequence = 0;

  /** From here on records are protected by these keys, which are our own. */
  protect(suite: Suite, { macSecret, key, iv }: WriteKeys): void {
    const mac = createMac(suite.mac, macSecret);
    this.#protection = { suite, mac, cipher: createEncryptor(suite.cipher, key, iv) };
    this.#sequence = 0;
  }

  /** As many records as the content needs. */
  write(contentType: number, content: Uint8Array): Buffer[] {
    const parts: Buffer[] = [];
    let at = 0;
    while (at < content.length) {
      const end = at === 0 && this.#splits(contentType) ? 1 : at + MAX_FRAGMENT;
      this.#add(parts, contentType, content.subarray(at, end));
      at = end;
    }
    return parts;
  }

  /**
   * The IV of the first record was on the wire before its content was chosen, which BEAST (CVE-2011-3389) needs. One byte
   * in a record of its own puts a MAC that nobody can foretell before the rest.
   */
  #splits(contentType: number): boolean {
    const { suite } = this.#protection ?? {};
    return suite !== undefined && CIPHERS[suite.cipher].block > 1 && contentType === CONTENT_TYPES.application_data;
  }

  #add(parts: Buffer[], contentType: number, content: Uint8Array): void {
    const fragment = this.#protection ? this.#seal(this.#protection, contentType, content) : Buffer.from(content);
    const { length } = fragment;
    parts.push(
      Buffer.from([contentType, VERSIONS.SSLv3 >> 8, VERSIONS.SSLv3 & 0xff, length >> 8, length & 0xff]),
      fragment,
    );
  }

  #seal({ suite, mac, cipher }: Protection, contentType: number, content: Uint8Array): Buffer {
    const { block } = CIPHERS[suite.cipher];
    const { size } = MACS[suite.mac];
    const padding = block > 1 ? block - ((content.length + size) % block) : 0;
    const plaintext = Buffer.alloc(content.length + size + padding);
    plaintext.set(content);
    plaintext.set(mac(this.#sequence, contentType, content), content.length);
    // The last byte is the length of the padding before it.
    if (padding > 0) plaintext.writeUInt8(padding - 1, plaintext.length - 1);
    this.#sequence += 1;
    return cipher(plaintext);
  }
}
