import { CONTENT_TYPES, HANDSHAKE_TYPES } from "./numbers.ts";
import { MAX_FRAGMENT, RECORD_HEADER } from "./record.ts";
import { beginsSslV2Hello, SSLV2_HELLO_HEAD } from "./sslv2-hello.ts";

/** Where a TLS handshake may begin in the middle of a stream. */
export interface Beginning {
  /** The place of its first byte. */
  readonly at: number;
  /** "client": a ClientHello. "server": a ServerHello. Undefined: too few bytes are there to tell; more would. */
  readonly hello: "client" | "server" | undefined;
}

/** Bytes of a message that tell: its type, its length, and the version. Nothing but TLS looks like that by chance. */
const HEAD = 6;
/** The shortest hello, in bytes: a version, a random, no session, and one suite and compression method of a server. */
const SHORTEST = 38;
/** The most records that the head of a hello may come in: one byte in each, and as many empty ones as OpenSSL takes. */
const MOST_RECORDS = HEAD + 32;
/** Bytes that are always enough to be certain. */
export const ENOUGH = MOST_RECORDS * RECORD_HEADER + HEAD;
/** So many bytes of a beginning are not there by chance: a record's type, and a version. */
export const TELLING = 3;

const FIRST_BYTES = Buffer.of(CONTENT_TYPES.handshake, 3);
/** The third and fourth byte of an SSLv2-format hello of TLS: its type, and the major version. */
const SSLV2_BYTES = Buffer.of(HANDSHAKE_TYPES.client_hello, 3);

/** The first place where a TLS handshake begins, or may begin with the last bytes. Undefined: nowhere. */
export function findHandshake(bytes: Buffer): Beginning | undefined {
  const [tls, sslV2] = [findRecord(bytes), findSslV2(bytes)];
  return tls && sslV2 ? (tls.at <= sslV2.at ? tls : sslV2) : (tls ?? sslV2);
}

function findRecord(bytes: Buffer): Beginning | undefined {
  for (let at = bytes.indexOf(FIRST_BYTES); at >= 0; at = bytes.indexOf(FIRST_BYTES, at + 1)) {
    const hello = helloAt(bytes, at);
    if (hello !== "none") return { at, hello };
  }
  // The last byte alone may be the first of a record.
  return bytes.at(-1) === FIRST_BYTES[0] ? { at: bytes.length - 1, hello: undefined } : undefined;
}

/** Reads the head of a handshake message through the records that it comes in: RFC 8446, sections 4 and 5.1. */
function helloAt(bytes: Buffer, start: number): Beginning["hello"] | "none" {
  const head: number[] = [];
  let at = start;
  for (let records = 0; records < MOST_RECORDS; records++) {
    if (!canBeRecord(bytes, at)) return "none";
    if (bytes.length < at + RECORD_HEADER) return undefined;
    const length = bytes.readUInt16BE(at + 3);
    if (length > MAX_FRAGMENT) return "none";
    const fragment = at + RECORD_HEADER;
    head.push(...bytes.subarray(fragment, Math.min(fragment + length, fragment + HEAD - head.length)));
    if (!canBeHello(head)) return "none";
    if (head.length === HEAD) return head[0] === HANDSHAKE_TYPES.client_hello ? "client" : "server";
    if (bytes.length <= fragment + length) return undefined;
    at = fragment + length;
  }
  return "none";
}

/** A handshake record of SSL 3.0 or TLS, as far as its first bytes are there. */
function canBeRecord(bytes: Buffer, at: number): boolean {
  const [type, major, minor] = bytes.subarray(at, at + 3);
  return (
    (type === undefined || type === CONTENT_TYPES.handshake) &&
    (major === undefined || major === 3) &&
    (minor === undefined || minor <= 4)
  );
}

function canBeHello([type, high, middle, low, major, minor]: readonly number[]): boolean {
  if (type !== undefined && type !== HANDSHAKE_TYPES.client_hello && type !== HANDSHAKE_TYPES.server_hello)
    return false;
  if (high !== undefined && high > 1) return false;
  if (low !== undefined && ((high ?? 0) << 16) + ((middle ?? 0) << 8) + low < SHORTEST) return false;
  return (major === undefined || major === 3) && (minor === undefined || minor <= 4);
}

/** The format of RFC 5246, appendix E.2. Its first two bytes are too common to be noticed before the next two are there. */
function findSslV2(bytes: Buffer): Beginning | undefined {
  for (let found = bytes.indexOf(SSLV2_BYTES, 2); found >= 0; found = bytes.indexOf(SSLV2_BYTES, found + 1)) {
    const at = found - 2;
    const head = bytes.subarray(at, at + SSLV2_HELLO_HEAD);
    if (!beginsSslV2Hello(head)) continue;
    return { at, hello: head.length === SSLV2_HELLO_HEAD ? "client" : undefined };
  }
  return undefined;
}
