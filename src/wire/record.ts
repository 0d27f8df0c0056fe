import { VERSIONS } from "../vocabulary.ts";
/** The record layer's numbers: RFC 8446, section 5.1. */
export const CONTENT_TYPES = {
  change_cipher_spec: 20,
  alert: 21,
  handshake: 22,
  application_data: 23,
} as const;

/** Handshake types: RFC 8446, section 4, and RFC 5246, section 7.4. */
export const HANDSHAKE_TYPES = {
  hello_request: 0,
  client_hello: 1,
  server_hello: 2,
  new_session_ticket: 4,
  certificate: 11,
  server_key_exchange: 12,
  certificate_request: 13,
  server_hello_done: 14,
  certificate_status: 22,
} as const;

/** What a client without supported_versions accepts, highest first: TLS 1.3 cannot be meant (RFC 8446, section 4.2.1). */
export function versionsUpTo(legacyVersion: number): number[] {
  const known = [VERSIONS["TLSv1.2"], VERSIONS["TLSv1.1"], VERSIONS.TLSv1, VERSIONS.SSLv3];
  return known.filter((version) => version <= legacyVersion);
}

/** The signalling suite of a client that already fell back to a lower version: RFC 7507. */
export const FALLBACK_SCSV = 0x5600;

export const RECORD_HEADER = 5;
export const HANDSHAKE_HEADER = 4;

/** The most a TLSPlaintext may carry: RFC 8446, section 5.1. */
export const MAX_FRAGMENT = 0x4000;

/** One plaintext record. */
export function record(contentType: number, version: number, fragment: Uint8Array): Buffer {
  const header = Buffer.from([contentType, version >> 8, version & 0xff, fragment.length >> 8, fragment.length & 0xff]);
  return Buffer.concat([header, fragment]);
}
