import { PeerError } from "../../errors.ts";
import { hex } from "../../vocabulary.ts";
import { ALERTS } from "../../wire/alert.ts";

/** One element of DER (ITU-T X.690): its tag, its contents, and all its bytes as they stood. */
export interface Element {
  readonly tag: number;
  readonly content: Buffer;
  readonly whole: Buffer;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/**
 * Reads the elements that fill `bytes` exactly, one behind the other; their contents are views of the same memory.
 * Throws PeerError when they are not DER: certificates come from strangers.
 */
export function readElements(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const tag = bytes[at++]!;
    // No field of a certificate has a tag number above 30, which is where the long form begins.
    if ((tag & 0x1f) === 0x1f) throw malformed("an element has a long tag");
    const first = bytes[at++];
    if (first === undefined) throw malformed("an element ends before its length");
    let length = first;
    if (first >= 0x80) {
      const size = first - 0x80;
      if (size === 0 || size > 3 || at + size > bytes.length) throw malformed("a length is indefinite or too large");
      length = bytes.readUIntBE(at, size);
      // X.690, section 10.1: the shortest form. Two forms of one value would make "the same certificate" ambiguous.
      if (length < 0x80 || length < 2 ** (8 * (size - 1))) throw malformed("a length is not in its shortest form");
      at += size;
    }
    if (at + length > bytes.length) throw malformed("an element is longer than what holds it");
    elements.push({ tag, content: bytes.subarray(at, at + length), whole: bytes.subarray(start, at + length) });
    at += length;
  }
  return elements;
}

/** Reads the elements inside the only element of `bytes`, which has this tag. Throws PeerError. */
export function readInside(bytes: Buffer, tag: number): Element[] {
  const [outer, ...more] = readElements(bytes);
  if (outer?.tag !== tag || more.length > 0) throw malformed(`not one element with the tag ${hex(tag)}`);
  return readElements(outer.content);
}

/** What every reader of certificates throws: the server sent bytes that are not an X.509 certificate. */
export function malformed(what: string): PeerError {
  return new PeerError(`Cannot read the certificate: ${what}`, ALERTS.bad_certificate, { side: "server" });
}

/**
 * Reads a time as RFC 5280, section 4.1.2.5 wants it: UTCTime or GeneralizedTime, to the second, in Zulu. In ms since the
 * epoch. Throws PeerError.
 */
export function readTime({ tag, content }: Element): number {
  const text = content.toString("latin1");
  if (tag === TAG.utcTime && /^\d{12}Z$/.test(text)) return readDigits(`${text < "5" ? "20" : "19"}${text}`);
  if (tag === TAG.generalizedTime && /^\d{14}Z$/.test(text)) return readDigits(text);
  throw malformed("a time is not one");
}

function readDigits(text: string): number {
  const ms = Date.parse(text.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (Number.isNaN(ms)) throw malformed("a time is not one");
  return ms;
}

/** Writes one element around its parts. */
export function encode(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length =
    size < 0x80
      ? [size]
      : size < 0x100
        ? [0x81, size]
        : size < 0x10000
          ? [0x82, size >> 8, size & 0xff]
          : [0x83, size >> 16, (size >> 8) & 0xff, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

/** Writes an object identifier, given as the hex of its contents. */
export function encodeOid(hex: string): Buffer {
  return encode(TAG.oid, Buffer.from(hex, "hex"));
}

/** Writes a non-negative INTEGER from its big-endian bytes. */
export function encodeInteger(bytes: Buffer): Buffer {
  const zeros = bytes.findIndex((byte) => byte !== 0);
  const digits = zeros < 0 ? Buffer.from([0]) : bytes.subarray(zeros);
  return encode(TAG.integer, digits[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

/** Writes a time in ms since the epoch as RFC 5280, section 4.1.2.5 wants it: UTCTime until 2049, then GeneralizedTime. */
export function encodeTime(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/\D/g, "")}Z`;
  const year = Number(digits.slice(0, 4));
  return year >= 1950 && year < 2050
    ? encode(TAG.utcTime, Buffer.from(digits.slice(2)))
    : encode(TAG.generalizedTime, Buffer.from(digits));
}
