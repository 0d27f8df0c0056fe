import { PeerError } from "../../errors.ts";
import { ALERTS } from "../../wire/alert.ts";

/** What an issuer says of a certificate. Times in ms since the epoch. */
export interface Answer {
  readonly status: "good" | "revoked" | "unknown";
  /** Why it was revoked, by the name of RFC 5280, section 5.3.1; null: it was not, or nobody says. */
  readonly reason: string | null;
  readonly thisUpdate: number;
  /** null: it does not say until when it holds. */
  readonly nextUpdate: number | null;
  /** Until when it is believed here. */
  readonly until: number;
}

/** How far clocks may be apart, and how long an answer is believed that names no end, in ms. */
const SKEW = 5 * 60_000;
const ENDLESS = 3_600_000;
/** One at its end is not asked for anew with each session. */
const LEAST = 1_000;

/** Until when an answer of these times is believed: RFC 6960, section 4.2.2.1. Throws PeerError when it is not, now. */
export function believedUntil(thisUpdate: number, nextUpdate: number | undefined, now: number): number {
  const end = nextUpdate ?? thisUpdate + ENDLESS;
  if (thisUpdate > now + SKEW) throw notBelieved(`it is of ${write(thisUpdate)}, which is still to come`);
  if (end < now - SKEW) throw notBelieved(`it ended at ${write(end)}`);
  return Math.max(end, now + LEAST);
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

/** The name of a CRLReason, given as the contents of its ENUMERATED. */
export function nameReason(content: Buffer): string | null {
  return (content.length === 1 ? REASONS[content[0]!] : undefined) ?? null;
}

/** What proves nothing is refused by this. */
export function notBelieved(what: string): PeerError {
  return new PeerError(
    `Cannot believe what was told of the certificate's revocation: ${what}`,
    ALERTS.bad_certificate_status_response,
    {
      side: "server",
    },
  );
}

/** What is wrong with an answer, without the words that say what was done: "it ended at 2026-11-23T10:00Z". */
export function whyNot({ message }: PeerError): string {
  return message.slice(message.indexOf(": ") + 2);
}

/** Of one certificate, as it is kept. */
export interface CertificateStatus extends Omit<RevocationRecord, "cached"> {
  readonly until: number;
  /** It names somebody who could have been asked. */
  readonly named: boolean;
  /** It promises a stapled answer, so that its owner wants no session without an answer: RFC 7633. */
  readonly mustStaple: boolean;
}

/** Of a whole chain. */
export interface ChainStatus extends CertificateStatus {
  /** Something of the chain should be known and is not. */
  readonly isOpen: boolean;
}

/** What is known of a certificate's revocation, for the session's record. Times in ms since the epoch. */
export interface RevocationRecord {
  /** "unknown": nobody could say. "exempt": nobody will ever say, and nobody needs to. */
  readonly status: Answer["status"] | "exempt";
  /** Who said it; null: nobody. */
  readonly from: "stapled" | "ocsp" | "crl" | null;
  /** An earlier session had asked. */
  readonly cached: boolean;
  /** Why it was revoked, or why nothing is known; null: there is nothing to say. */
  readonly reason: string | null;
  readonly thisUpdate: number | null;
  readonly nextUpdate: number | null;
}
