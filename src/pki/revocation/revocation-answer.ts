import { PeerError } from "../../errors.ts";
import { ALERTS } from "../../wire/alert.ts";

/** The answer of an OCSP response or a revocation list about a certificate. Times in ms since the epoch. */
export interface Answer {
  readonly status: "good" | "revoked" | "unknown";
  /** Why it was revoked, by the name of RFC 5280, section 5.3.1; null: not revoked, or no reason given. */
  readonly reason: string | null;
  readonly thisUpdate: number;
  readonly nextUpdate: number | null;
  /** When the node stops using the answer. */
  readonly until: number;
}

/** The status of one certificate, as the cache keeps it. */
export interface CertificateStatus extends Omit<RevocationRecord, "cached"> {
  readonly until: number;
  /** Whether the certificate names a responder or a list, of a kind that the settings allow. */
  readonly canBeAsked: boolean;
  /** The certificate promises a stapled response, so without an answer no session is wanted: RFC 7633. */
  readonly mustStaple: boolean;
}

/** The status of a whole chain. */
export interface ChainStatus extends CertificateStatus {
  /** The status of a certificate is unknown that should be known. */
  readonly undetermined: boolean;
}

/** The result for the session's record. Times in ms since the epoch. */
export interface RevocationRecord {
  /** "unknown": no source had an answer. "exempt": the certificate needs none. */
  readonly status: Answer["status"] | "exempt";
  /** The source of the answer; null: there is no answer. */
  readonly from: "stapled" | "ocsp" | "crl" | null;
  /** The answer was already in the cache. */
  readonly cached: boolean;
  /** Why the certificate was revoked, or why its status is unknown; null: neither. */
  readonly reason: string | null;
  readonly thisUpdate: number | null;
  readonly nextUpdate: number | null;
}

/** A response that the node staples to a certificate of its own keys. Times in ms since the epoch. */
export interface KeptStaple {
  readonly bytes: Buffer;
  /** In DER: clients look for who signed the response among the certificates that they are shown. */
  readonly issuer: Buffer;
  readonly until: number;
  /** From here on a newer one is fetched, while this one is still shown. */
  readonly renew: number;
}

/** How far clocks may differ, in ms. */
const SKEW = 5 * 60_000;
/** How long an answer without nextUpdate is used, in ms. */
const DEFAULT_LIFETIME = 3_600_000;
/** An answer at its end is used this long, in ms, so that not every session asks again. */
const MIN_LIFETIME = 1_000;

/**
 * When the node stops using an answer: RFC 6960, section 4.2.2.1. Throws PeerError when the answer is not valid now. All
 * times in ms since the epoch.
 */
export function usableUntil(thisUpdate: number, nextUpdate: number | null, now: number): number {
  const end = nextUpdate ?? thisUpdate + DEFAULT_LIFETIME;
  if (thisUpdate > now + SKEW) throw unusable(`thisUpdate ${write(thisUpdate)} is in the future`);
  if (end < now - SKEW) throw unusable(`it expired at ${write(end)}`);
  return Math.max(end, now + MIN_LIFETIME);
}

function write(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}

/** CRLReason: RFC 5280, section 5.3.1. */
const REASONS: readonly (string | undefined)[] = [
  "unspecified",
  "keyCompromise",
  "cACompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "certificateHold",
  undefined,
  "removeFromCRL",
  "privilegeWithdrawn",
  "aACompromise",
];

/** The name of a CRLReason, from the contents of its ENUMERATED. */
export function nameReason(content: Buffer): string | null {
  return (content.length === 1 ? REASONS[content[0]!] : undefined) ?? null;
}

/** The error for an answer that can be read but proves nothing. */
export function unusable(why: string): PeerError {
  const message = `Cannot use the revocation information: ${why}`;
  return new PeerError(message, ALERTS.bad_certificate_status_response, { side: "server" });
}

/** The reason in a message of `unusable` or `malformed`: "it expired at 2026-11-23T10:00Z". */
export function reasonOf({ message }: PeerError): string {
  return message.slice(message.indexOf(": ") + 2);
}
