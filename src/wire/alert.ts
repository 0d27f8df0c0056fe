import { VERSIONS } from "../vocabulary.ts";
import { CONTENT_TYPES } from "./numbers.ts";
import { record } from "./record.ts";

/** TLS alerts: RFC 8446, section 6, and the descriptions that only older versions send (RFC 5246, section 7.2; RFC 6101). */

export const ALERTS = {
  close_notify: 0,
  unexpected_message: 10,
  bad_record_mac: 20,
  decryption_failed: 21,
  record_overflow: 22,
  decompression_failure: 30,
  handshake_failure: 40,
  no_certificate: 41,
  bad_certificate: 42,
  unsupported_certificate: 43,
  certificate_revoked: 44,
  certificate_expired: 45,
  certificate_unknown: 46,
  illegal_parameter: 47,
  unknown_ca: 48,
  access_denied: 49,
  decode_error: 50,
  decrypt_error: 51,
  export_restriction: 60,
  protocol_version: 70,
  insufficient_security: 71,
  internal_error: 80,
  inappropriate_fallback: 86,
  user_canceled: 90,
  no_renegotiation: 100,
  missing_extension: 109,
  unsupported_extension: 110,
  certificate_unobtainable: 111,
  unrecognized_name: 112,
  bad_certificate_status_response: 113,
  bad_certificate_hash_value: 114,
  unknown_psk_identity: 115,
  certificate_required: 116,
  no_application_protocol: 120,
  ech_required: 121,
} as const;

const NAMES = new Map<number, string>(Object.entries(ALERTS).map(([name, number]) => [number, name]));
const FATAL = 2;

/** The RFC's name of an alert description, or "alert_200" when it has no name. */
export function nameAlert(description: number): string {
  return NAMES.get(description) ?? `alert_${description}`;
}

/**
 * A fatal alert before any keys exist: one plaintext record of 7 bytes.
 * `version` is the record's legacy version; an SSL 3.0 peer expects SSL 3.0 there.
 */
export function fatalAlert(description: number, version: number = VERSIONS["TLSv1.2"]): Buffer {
  return record(CONTENT_TYPES.alert, version, Buffer.from([FATAL, description]));
}
