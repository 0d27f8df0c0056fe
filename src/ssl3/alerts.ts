import { ALERTS } from "../wire/alert.ts";

/**
 * The alert of SSL 3.0 for an alert of TLS. RFC 6101, section 5.4.2, has twelve, and peers may not know others. A client of
 * RFC 7507 knows inappropriate_fallback.
 */
export function asSsl3Alert(description: number): number {
  if (OWN.has(description)) return description;
  return REPLACEMENTS.get(description) ?? ALERTS.handshake_failure;
}

const OWN = new Set<number>([
  ALERTS.close_notify,
  ALERTS.unexpected_message,
  ALERTS.bad_record_mac,
  ALERTS.decompression_failure,
  ALERTS.handshake_failure,
  ALERTS.no_certificate,
  ALERTS.bad_certificate,
  ALERTS.unsupported_certificate,
  ALERTS.certificate_revoked,
  ALERTS.certificate_expired,
  ALERTS.certificate_unknown,
  ALERTS.illegal_parameter,
  ALERTS.inappropriate_fallback,
]);

const REPLACEMENTS = new Map<number, number>([
  [ALERTS.decode_error, ALERTS.illegal_parameter],
  [ALERTS.record_overflow, ALERTS.illegal_parameter],
  [ALERTS.decryption_failed, ALERTS.bad_record_mac],
  [ALERTS.unknown_ca, ALERTS.certificate_unknown],
]);
