import { TRUNCATED } from "../streams/relay.ts";
import type { Side } from "../vocabulary.ts";
import { ALERTS, nameAlert } from "../wire/alert.ts";
import type { LegFailure } from "./leg.ts";

/**
 * OpenSSL's reasons for an alert that the peer sent, as Node spells their codes, and the alert (RFC 8446, section 6).
 * OpenSSL groups them by the protocol version that introduced the alert, not by the one in use.
 */
const RECEIVED: Readonly<Record<string, number>> = {
  "SSL/TLS_ALERT_UNEXPECTED_MESSAGE": ALERTS.unexpected_message,
  "SSL/TLS_ALERT_BAD_RECORD_MAC": ALERTS.bad_record_mac,
  TLSV1_ALERT_DECRYPTION_FAILED: ALERTS.decryption_failed,
  TLSV1_ALERT_RECORD_OVERFLOW: ALERTS.record_overflow,
  "SSL/TLS_ALERT_DECOMPRESSION_FAILURE": ALERTS.decompression_failure,
  "SSL/TLS_ALERT_HANDSHAKE_FAILURE": ALERTS.handshake_failure,
  "SSL/TLS_ALERT_NO_CERTIFICATE": ALERTS.no_certificate,
  "SSL/TLS_ALERT_BAD_CERTIFICATE": ALERTS.bad_certificate,
  "SSL/TLS_ALERT_UNSUPPORTED_CERTIFICATE": ALERTS.unsupported_certificate,
  "SSL/TLS_ALERT_CERTIFICATE_REVOKED": ALERTS.certificate_revoked,
  "SSL/TLS_ALERT_CERTIFICATE_EXPIRED": ALERTS.certificate_expired,
  "SSL/TLS_ALERT_CERTIFICATE_UNKNOWN": ALERTS.certificate_unknown,
  "SSL/TLS_ALERT_ILLEGAL_PARAMETER": ALERTS.illegal_parameter,
  TLSV1_ALERT_UNKNOWN_CA: ALERTS.unknown_ca,
  TLSV1_ALERT_ACCESS_DENIED: ALERTS.access_denied,
  TLSV1_ALERT_DECODE_ERROR: ALERTS.decode_error,
  TLSV1_ALERT_DECRYPT_ERROR: ALERTS.decrypt_error,
  TLSV1_ALERT_EXPORT_RESTRICTION: ALERTS.export_restriction,
  TLSV1_ALERT_PROTOCOL_VERSION: ALERTS.protocol_version,
  TLSV1_ALERT_INSUFFICIENT_SECURITY: ALERTS.insufficient_security,
  TLSV1_ALERT_INTERNAL_ERROR: ALERTS.internal_error,
  TLSV1_ALERT_INAPPROPRIATE_FALLBACK: ALERTS.inappropriate_fallback,
  TLSV1_ALERT_USER_CANCELLED: ALERTS.user_canceled,
  TLSV1_ALERT_NO_RENEGOTIATION: ALERTS.no_renegotiation,
  TLSV13_ALERT_MISSING_EXTENSION: ALERTS.missing_extension,
  TLSV1_UNSUPPORTED_EXTENSION: ALERTS.unsupported_extension,
  TLSV1_CERTIFICATE_UNOBTAINABLE: ALERTS.certificate_unobtainable,
  TLSV1_UNRECOGNIZED_NAME: ALERTS.unrecognized_name,
  TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE: ALERTS.bad_certificate_status_response,
  TLSV1_BAD_CERTIFICATE_HASH_VALUE: ALERTS.bad_certificate_hash_value,
  TLSV1_ALERT_UNKNOWN_PSK_IDENTITY: ALERTS.unknown_psk_identity,
  TLSV13_ALERT_CERTIFICATE_REQUIRED: ALERTS.certificate_required,
  TLSV1_ALERT_NO_APPLICATION_PROTOCOL: ALERTS.no_application_protocol,
};

/** OpenSSL's reasons for refusing a peer, and the alert that tells the other side the same. */
const REFUSED: Readonly<Record<string, number>> = {
  UNSUPPORTED_PROTOCOL: ALERTS.protocol_version,
  NO_PROTOCOLS_AVAILABLE: ALERTS.protocol_version,
  VERSION_TOO_LOW: ALERTS.protocol_version,
  VERSION_TOO_HIGH: ALERTS.protocol_version,
  INAPPROPRIATE_FALLBACK: ALERTS.inappropriate_fallback,
  NO_SHARED_CIPHER: ALERTS.handshake_failure,
  NO_SUITABLE_SIGNATURE_ALGORITHM: ALERTS.handshake_failure,
  NO_SUITABLE_GROUPS: ALERTS.handshake_failure,
  NO_SUITABLE_KEY_SHARE: ALERTS.handshake_failure,
  WRONG_CIPHER_RETURNED: ALERTS.illegal_parameter,
  UNKNOWN_CIPHER_RETURNED: ALERTS.illegal_parameter,
  WRONG_CURVE: ALERTS.illegal_parameter,
  BAD_KEY_SHARE: ALERTS.illegal_parameter,
  WRONG_SIGNATURE_TYPE: ALERTS.illegal_parameter,
  DH_KEY_TOO_SMALL: ALERTS.insufficient_security,
  EE_KEY_TOO_SMALL: ALERTS.insufficient_security,
  CA_KEY_TOO_SMALL: ALERTS.insufficient_security,
  CA_MD_TOO_WEAK: ALERTS.insufficient_security,
  BAD_SIGNATURE: ALERTS.decrypt_error,
  DIGEST_CHECK_FAILED: ALERTS.decrypt_error,
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: ALERTS.bad_record_mac,
  NO_APPLICATION_PROTOCOL: ALERTS.no_application_protocol,
  UNEXPECTED_MESSAGE: ALERTS.unexpected_message,
};

/** The alert that the peer sent, if this error says that it sent one. */
export function receivedAlert(error: NodeJS.ErrnoException): number | undefined {
  return RECEIVED[(error.code ?? "").replace(/^ERR_SSL_/, "")];
}

/**
 * Whether this error of a leg is a fatal alert, sent or received. The session of such a connection must not be resumed: RFC
 * 6101, section 5.4; RFC 5246, section 7.2. A missing close_notify is not fatal (RFC 5246, section 7.2.1).
 */
export function isFatalAlert({ code = "" }: NodeJS.ErrnoException): boolean {
  return code.startsWith("ERR_SSL_") && code !== TRUNCATED;
}

/** OpenSSL's code for an alert that the peer sent: the reverse of `receivedAlert`. */
export function codeOfAlert(alert: number): string {
  const [name] = Object.entries(RECEIVED).find(([, number]) => number === alert) ?? [`TLSV1_ALERT_${alert}`];
  return `ERR_SSL_${name}`;
}

/** Explains a failed handshake with `peer`: who refused, and the alert that tells the other side why. */
export function explainFailure(peer: Side, error: NodeJS.ErrnoException): LegFailure {
  const code = error.code ?? "ERR_SSL";
  const received = receivedAlert(error);
  if (received !== undefined) {
    const reason = `The ${peer} refused the handshake: ${nameAlert(received)}`;
    return { kind: "failed", cause: "alert", alert: received, code, reason };
  }
  if (!code.startsWith("ERR_SSL_")) {
    // Node's error for a FIN during the handshake is ECONNRESET too, but a real reset names a system call.
    const reset = code !== "ECONNRESET" || error.syscall !== undefined;
    const reason = `The ${peer} ${reset ? "reset" : "closed"} the connection during the handshake`;
    return { kind: "failed", cause: "network", alert: ALERTS.handshake_failure, code: reset ? code : "EOF", reason };
  }
  const alert = REFUSED[code.slice("ERR_SSL_".length)] ?? ALERTS.handshake_failure;
  return { kind: "failed", cause: "protocol", alert, code, reason: `The handshake with the ${peer} failed: ${code}` };
}

/** The handshake with `peer` did not end in time. */
export function explainTimeout(peer: Side, timeout: number): LegFailure {
  const reason = `The ${peer} did not finish the handshake in ${timeout} ms`;
  return { kind: "failed", cause: "timeout", alert: ALERTS.internal_error, code: "ETIMEDOUT", reason };
}
