import { timingSafeEqual } from "node:crypto";
import { PeerError } from "../errors.ts";
import { nameVersion, VERSIONS } from "../vocabulary.ts";
import { Accumulator } from "../wire/accumulator.ts";
import { ALERTS } from "../wire/alert.ts";
import { CONTENT_TYPES } from "../wire/numbers.ts";
import { MAX_FRAGMENT, RECORD_HEADER } from "../wire/record.ts";
import { type BulkCipher, CIPHERS, createDecryptor, createEncryptor } from "./bulk-cipher.ts";
import type { WriteKeys } from "./derivation.ts";
import { createMac, evenOut, MACS, type Mac } from "./mac.ts";
import type { Suite } from "./suites.ts";

/** A record's plaintext. `contentType` SSLV2_HELLO: a whole SSLv2-format hello, which is not a record of SSL 3.0. */
export interface Content {
  readonly contentType: number;
  readonly content: Buffer;
}

export const SSLV2_HELLO = 0x80;

/** RFC 6101, section 5.2.3: what compression and encryption may add to a fragment, in bytes. */
const MAX_EXPANSION = 2048;
const SSLV2_HEADER = 2;
/** The most empty records in a row: each costs the peer almost nothing. */
const MAX_EMPTY = 32;

/** Protection in one direction: RFC 6101, section 5.2.3. */
interface Protection {
  readonly suite: Suite;
  readonly mac: Mac;
  readonly cipher: BulkCipher;
}

/** Reads records from bytes in pieces of any size, and gives their plaintext once the MAC is verified. */
export class RecordReader {
  #input: Buffer = Buffer.alloc(0);
  /** The beginning of an incomplete record. */
  #partial = new Accumulator();
  #protection: Protection | undefined;
  #sequence = 0;
  #empty = 0;
  #accepts: "hello" | "version" | "none";

  /** Until `requireSsl3`, records may have another version 3.x. "hello": the first may be an SSLv2-format hello. */
  constructor(first: "hello" | "version") {
    this.#accepts = first;
  }

  /** From now on every record must have the version SSL 3.0. */
  requireSsl3(): void {
    this.#accepts = "none";
  }

  /** From now on records are protected with these keys of the peer. */
  protect(suite: Suite, { macSecret, key, iv }: WriteKeys): void {
    const mac = createMac(suite.mac, macSecret);
    this.#protection = { suite, mac, cipher: createDecryptor(suite.cipher, key, iv) };
    this.#sequence = 0;
  }

  /** The caller gives the bytes away. Call `next` until it answers undefined, then push again. */
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
      throw new PeerError(
        `Cannot read a record: its content has ${content.length} bytes, above ${MAX_FRAGMENT}`,
        ALERTS.record_overflow,
      );
    }
    this.#empty = content.length === 0 ? this.#empty + 1 : 0;
    if (this.#empty > MAX_EMPTY)
      throw new PeerError(`The peer sent more than ${MAX_EMPTY} empty records in a row`, ALERTS.unexpected_message);
    return { contentType, content };
  }

  /** One record with its header. An incomplete record takes only the memory of the bytes that have arrived. */
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

  /** The length of the record that begins here; undefined: its header is not complete. */
  #lengthOf(bytes: Buffer): number | undefined {
    const first = bytes[0];
    if (first === undefined) return undefined;
    if ((first & SSLV2_HELLO) !== 0 && this.#accepts === "hello") {
      return bytes.length < SSLV2_HEADER ? undefined : SSLV2_HEADER + (bytes.readUInt16BE(0) & 0x7fff);
    }
    if (first < CONTENT_TYPES.change_cipher_spec || first > CONTENT_TYPES.application_data) {
      throw new PeerError(`Cannot read a record: its type is ${first}`, ALERTS.unexpected_message);
    }
    if (bytes.length < RECORD_HEADER) return undefined;
    const version = bytes.readUInt16BE(1);
    if (this.#accepts === "none" ? version !== VERSIONS.SSLv3 : version >> 8 !== 3) {
      throw new PeerError(
        `Cannot read a record: its version is ${nameVersion(version)}, not SSL 3.0`,
        ALERTS.illegal_parameter,
      );
    }
    const length = bytes.readUInt16BE(3);
    if (length > MAX_FRAGMENT + (this.#protection ? MAX_EXPANSION : 0)) {
      throw new PeerError(`Cannot read a record: its length ${length} is too large`, ALERTS.record_overflow);
    }
    return RECORD_HEADER + length;
  }

  /**
   * Decrypts and verifies the MAC; a wrong padding and a wrong MAC take the same steps and give the same answer (RFC 6101,
   * section 5.2.3.2). SSL 3.0 does not protect the padding's bytes, which is the flaw behind POODLE.
   */
  #open({ suite, mac, cipher }: Protection, contentType: number, fragment: Buffer): Buffer {
    const { block } = CIPHERS[suite.cipher];
    const { size } = MACS[suite.mac];
    const padded = block > 1;
    if (fragment.length % block !== 0 || fragment.length < size + (padded ? 1 : 0)) throw notAuthentic();
    const plaintext = cipher(fragment);
    const longest = plaintext.length - size - (padded ? 1 : 0);
    const padding = padded ? plaintext[plaintext.length - 1]! : 0;
    // All ones if the padding is shorter than a block and leaves room for a MAC. No branch depends on it.
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

/** Writes records. */
export class RecordWriter {
  #protection: Protection | undefined;
  #sequence = 0;

  /** From now on records are protected with these keys of our own. */
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
   * An attacker knows the IV of a record before its content is chosen, which BEAST (CVE-2011-3389) uses. A first record of
   * one byte puts an unpredictable MAC before the rest.
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
