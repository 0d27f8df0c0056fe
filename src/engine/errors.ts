import { ALERTS } from "../wire/alert.ts";
import type { LayerFailure } from "./layer.ts";
import { crypto } from "./native.ts";

/**
 * OpenSSL's error numbers, and the alerts that say the same to the other side. Decisions are made by number; the text that
 * OpenSSL has for it goes into the record and nowhere else.
 */

/** ERR_LIB_SSL: the reasons below are this library's. */
const LIBRARY_SSL = 20;
/** SSL_AD_REASON_OFFSET: the reason for an alert of the peer's is this and the alert's number. */
const ALERT_OFFSET = 1000;
/** SSL_R_UNEXPECTED_EOF_WHILE_READING: a FIN without close_notify. */
export const UNEXPECTED_EOF = 294;

/** SSL_R_*: sslerr.h of OpenSSL 3.5. */
const REFUSED = new Map<number, number>([
  [258, ALERTS.protocol_version], // UNSUPPORTED_PROTOCOL
  [191, ALERTS.protocol_version], // NO_PROTOCOLS_AVAILABLE
  [396, ALERTS.protocol_version], // VERSION_TOO_LOW
  [166, ALERTS.protocol_version], // VERSION_TOO_HIGH
  [373, ALERTS.inappropriate_fallback], // INAPPROPRIATE_FALLBACK
  [193, ALERTS.handshake_failure], // NO_SHARED_CIPHER
  [118, ALERTS.handshake_failure], // NO_SUITABLE_SIGNATURE_ALGORITHM
  [295, ALERTS.handshake_failure], // NO_SUITABLE_GROUPS
  [101, ALERTS.handshake_failure], // NO_SUITABLE_KEY_SHARE
  [261, ALERTS.illegal_parameter], // WRONG_CIPHER_RETURNED
  [248, ALERTS.illegal_parameter], // UNKNOWN_CIPHER_RETURNED
  [378, ALERTS.illegal_parameter], // WRONG_CURVE
  [108, ALERTS.illegal_parameter], // BAD_KEY_SHARE
  [370, ALERTS.illegal_parameter], // WRONG_SIGNATURE_TYPE
  [394, ALERTS.insufficient_security], // DH_KEY_TOO_SMALL
  [399, ALERTS.insufficient_security], // EE_KEY_TOO_SMALL
  [397, ALERTS.insufficient_security], // CA_KEY_TOO_SMALL
  [398, ALERTS.insufficient_security], // CA_MD_TOO_WEAK
  [123, ALERTS.decrypt_error], // BAD_SIGNATURE
  [149, ALERTS.decrypt_error], // DIGEST_CHECK_FAILED
  [281, ALERTS.bad_record_mac], // DECRYPTION_FAILED_OR_BAD_RECORD_MAC
  [235, ALERTS.no_application_protocol], // NO_APPLICATION_PROTOCOL
  [244, ALERTS.unexpected_message], // UNEXPECTED_MESSAGE
]);

/** What is in OpenSSL's queue of errors for the call that has just failed; the queue is empty afterwards. 0: nothing is. */
export function takeError(): number {
  const code = crypto.ERR_peek_error();
  crypto.ERR_clear_error();
  return code;
}

/**
 * Forgets errors that somebody else has left behind: OpenSSL has one queue for all of a thread's calls, Node's among them, and
 * what stands in it before a call would be taken for that call's.
 */
export function dropErrors(): void {
  // Asking is cheaper than clearing, and there is hardly ever one.
  if (crypto.ERR_peek_error() !== 0) crypto.ERR_clear_error();
}

/** The reason number, when the error is the SSL library's. */
export function reasonOf(code: number): number | undefined {
  return code >>> 23 === LIBRARY_SSL ? code & 0x7fffff : undefined;
}

/**
 * Alerts that say nothing about an error: close_notify and no_renegotiation may have been sent before it, OpenSSL sends
 * protocol_version also to a peer that does not speak TLS at all, and internal_error where it cannot do itself what was asked.
 */
const TELLS_NOTHING: readonly (number | undefined)[] = [
  undefined,
  ALERTS.close_notify,
  ALERTS.no_renegotiation,
  ALERTS.protocol_version,
  ALERTS.internal_error,
];

/** What an error of OpenSSL's says about a peer. `sent`: the last alert that the peer was sent. */
export function explain(code: number, sent?: number): LayerFailure {
  const reason = reasonOf(code);
  const alert = reason === undefined ? -1 : reason - ALERT_OFFSET;
  if (alert >= 0 && alert <= 255) return { cause: "alert", alert, code: nameOf(code) };
  const told = TELLS_NOTHING.includes(sent) ? ALERTS.handshake_failure : sent!;
  return { cause: "protocol", alert: REFUSED.get(reason ?? 0) ?? told, code: nameOf(code) };
}

/** "ERR_SSL_WRONG_VERSION_NUMBER", as Node spells it. */
function nameOf(code: number): string {
  const text = crypto.ERR_reason_error_string(code);
  return `ERR_SSL_${text ? text.toUpperCase().replaceAll(" ", "_") : `REASON_${code & 0x7fffff}`}`;
}
