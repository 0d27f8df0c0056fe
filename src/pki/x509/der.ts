import { PeerError } from "../../errors.ts";
import { hex } from "../../vocabulary.ts";
import { ALERTS } from "../../wire/alert.ts";

/** One element of DER: ITU-T X.690. */
export interface Element {
  readonly tag: number;
  readonly content: Buffer;
  /** Tag, length and content, as they were read. */
  readonly whole: Buffer;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/**
 * Reads the elements that fill `bytes` exactly; their contents are views of the same memory. Throws PeerError when the
 * bytes are not DER.
 */
export function readElements(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const tag = bytes[at++]!;
    // No field of a certificate has a tag number above 30, where the long form begins.
    if ((tag & 0x1f) === 0x1f) throw malformed("an element has a tag of more than one byte");
    const first = bytes[at++];
    if (first === undefined) throw malformed("an element has no length");
    let length = first;
    if (first >= 0x80) {
      const size = first - 0x80;
      if (size === 0) throw malformed("an element has an indefinite length");
      if (size > 3 || at + size > bytes.length) throw malformed("an element's length has too many bytes");
      length = bytes.readUIntBE(at, size);
      // X.690, section 10.1. With two forms of one value, "the same certificate" would be ambiguous.
      if (length < 0x80 || length < 2 ** (8 * (size - 1))) throw malformed("a length is not in its shortest form");
      at += size;
    }
    if (at + length > bytes.length) throw malformed("an element is longer than the one that contains it");
    elements.push({ tag, content: bytes.subarray(at, at + length), whole: bytes.subarray(start, at + length) });
    at += length;
  }
  return elements;
}

/**
 * Reads the elements inside an element with this tag, which must fill `bytes` exactly. `field` names it in the error.
 * Throws PeerError.
 */
export function readInside(bytes: Buffer, tag: number, field: string): Element[] {
  const [outer, ...more] = readElements(bytes);
  if (outer?.tag !== tag) throw malformed(`${field} is not ${nameTag(tag)}`);
  if (more.length > 0) throw malformed(`${field} is followed by more elements`);
  return readElements(outer.content);
}

function nameTag(tag: number): string {
  if (tag === TAG.sequence) return "a SEQUENCE";
  return tag === TAG.octetString ? "an OCTET STRING" : `an element with tag ${hex(tag, 2)}`;
}

/** The object identifier in an element, in the form of OID; "" for none. */
export function oidOf(element: Element | undefined): string {
  return element?.tag === TAG.oid ? element.content.toString("hex") : "";
}

/** The error of all readers of certificates: the server sent bytes that are not X.509 in DER. */
export function malformed(what: string): PeerError {
  return new PeerError(`Cannot read the certificate: ${what}`, ALERTS.bad_certificate, { side: "server" });
}

/**
 * Reads a time in the forms that RFC 5280, section 4.1.2.5 allows: UTCTime or GeneralizedTime, with seconds, in UTC.
 * Answers ms since the epoch. `field` names it in the error. Throws PeerError.
 */
export function readTime(element: Element | undefined, field: string): number {
  const text = element?.content.toString("latin1") ?? "";
  if (element?.tag === TAG.utcTime && /^\d{12}Z$/.test(text)) {
    return readDigits(`${text < "5" ? "20" : "19"}${text}`, field);
  }
  if (element?.tag === TAG.generalizedTime && /^\d{14}Z$/.test(text)) return readDigits(text, field);
  throw malformed(`${field} is not a UTCTime or GeneralizedTime with seconds in UTC`);
}

function readDigits(text: string, field: string): number {
  const ms = Date.parse(text.replace(/^(....)(..)(..)(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (Number.isNaN(ms)) throw malformed(`${field} is not a date: ${text}`);
  return ms;
}

/** Writes an element that contains these parts. */
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

/** Writes an OBJECT IDENTIFIER that is given as in OID. */
export function encodeOid(oid: string): Buffer {
  return encode(TAG.oid, Buffer.from(oid, "hex"));
}

export function encodeNull(): Buffer {
  return encode(TAG.null);
}

/** Writes a non-negative INTEGER from its big-endian bytes. */
export function encodeInteger(bytes: Buffer): Buffer {
  const zeros = bytes.findIndex((byte) => byte !== 0);
  const digits = zeros < 0 ? Buffer.from([0]) : bytes.subarray(zeros);
  return encode(TAG.integer, digits[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), digits]) : digits);
}

/** Writes a GeneralizedTime, which OCSP has for every year. `ms` since the epoch. */
export function encodeGeneralizedTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().slice(0, 19).replace(/\D/g, "");
  return encode(TAG.generalizedTime, Buffer.from(`${digits}Z`));
}

/** Writes a time in ms since the epoch: a UTCTime until 2049, then a GeneralizedTime (RFC 5280, section 4.1.2.5). */
export function encodeTime(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().slice(0, 19).replace(/\D/g, "")}Z`;
  const year = Number(digits.slice(0, 4));
  return year >= 1950 && year < 2050
    ? encode(TAG.utcTime, Buffer.from(digits.slice(2)))
    : encode(TAG.generalizedTime, Buffer.from(digits));
}
