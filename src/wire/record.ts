import { VERSIONS } from "../vocabulary.ts";
import { CONTENT_TYPES } from "./numbers.ts";

/** The versions that a client without supported_versions accepts, highest first: TLS 1.2 at most (RFC 8446, section 4.2.1). */
export function versionsUpTo(legacyVersion: number): number[] {
  const highest = Math.min(legacyVersion, VERSIONS["TLSv1.2"]);
  return Object.values(VERSIONS)
    .filter((version) => version <= highest)
    .reverse();
}

/** Lengths of headers, in bytes. */
export const RECORD_HEADER = 5;
export const HANDSHAKE_HEADER = 4;

/** The largest fragment of a TLSPlaintext, in bytes: RFC 8446, section 5.1. */
export const MAX_FRAGMENT = 0x4000;

/** One plaintext record. */
export function record(contentType: number, version: number, fragment: Uint8Array): Buffer {
  const header = Buffer.from([contentType, version >> 8, version & 0xff, fragment.length >> 8, fragment.length & 0xff]);
  return Buffer.concat([header, fragment]);
}

/**
 * Whether these first bytes can begin a record: a content type that TLS has, and the major version 3, the same since SSL 3.0. One
 * byte, or none, can.
 */
export function beginsRecord(bytes: Uint8Array): boolean {
  const [type, major] = bytes;
  return (type === undefined || CONTENT_TYPE_NUMBERS.includes(type)) && (major === undefined || major === 3);
}

const CONTENT_TYPE_NUMBERS: readonly number[] = Object.values(CONTENT_TYPES);
