import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Fault } from "../../vocabulary.ts";
import { type Chain, findChain, isSelfIssued, type RootSet } from "../x509/chain.ts";
import { readValidity } from "../x509/validity.ts";
import { breaches, constraints, orMalformed, weaknesses } from "./strictness.ts";

/** Instead of OpenSSL's code, for a chain that OpenSSL did not verify. */
export const NOT_VERIFIED = "NOT_VERIFIED";

export interface FoundFault {
  readonly fault: Fault;
  /** OpenSSL's name: "CERT_HAS_EXPIRED". */
  readonly code: string;
}

export interface ServerProof {
  readonly leaf: X509Certificate;
  /** The certificates that the server sent with the leaf. */
  readonly sent: readonly X509Certificate[];
  /** The name of OpenSSL's verification error; undefined: it found none. Or NOT_VERIFIED. */
  readonly code: string | undefined;
  /** The name or address that the client requested; undefined: it is not known. */
  readonly host: string | undefined;
  /** The roots that OpenSSL has. */
  readonly roots: RootSet;
  /** ms since the epoch. */
  readonly now: number;
}

/**
 * Finds all faults of a server's certificate. OpenSSL verified it, but continues after an error and reports only the
 * last one, so "expired" can hide "unknown issuer": if it found an error, all is checked again here. The checks that
 * browsers have and OpenSSL does not are always made.
 */
export function verifyServer({ leaf, sent, code, host, roots, now }: ServerProof): { faults: FoundFault[] } {
  const chain = findChain(leaf, roots, sent);
  const found: FoundFault[] = code === undefined || code === NOT_VERIFIED ? [] : [{ fault: faultOf(code), code }];
  if (code === NOT_VERIFIED) found.push(...orMalformed(() => constraints(chain)).map(invalid));
  if (code !== undefined) {
    if (!chain.anchored) found.push(missingAnchor(chain));
    found.push(...orMalformed(() => breaches(chain)).map(invalid));
  }
  found.push(...wrongDates(code === undefined ? [leaf] : chain.path, now));
  found.push(...orMalformed(() => weaknesses(chain)).map(invalid));
  if (host !== undefined) found.push(...wrongHost(leaf, host));
  return { faults: withoutRepetition(found) };
}

/** Node's names for OpenSSL's X509_V_ERR_*. Node reports errors that it has no name for as UNSPECIFIED. */
const FAULTS: Readonly<Record<string, Fault>> = {
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "selfSigned",
  // The chain ends in a root that is not trusted.
  SELF_SIGNED_CERT_IN_CHAIN: "unknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT: "unknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unknownIssuer",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unknownIssuer",
  CERT_UNTRUSTED: "unknownIssuer",
  HOSTNAME_MISMATCH: "hostMismatch",
  ERR_TLS_CERT_ALTNAME_INVALID: "hostMismatch",
  UNABLE_TO_GET_CRL: "invalid",
  UNABLE_TO_DECRYPT_CERT_SIGNATURE: "invalid",
  UNABLE_TO_DECRYPT_CRL_SIGNATURE: "invalid",
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: "invalid",
  CERT_SIGNATURE_FAILURE: "invalid",
  CRL_SIGNATURE_FAILURE: "invalid",
  CRL_NOT_YET_VALID: "invalid",
  CRL_HAS_EXPIRED: "invalid",
  ERROR_IN_CERT_NOT_BEFORE_FIELD: "invalid",
  ERROR_IN_CERT_NOT_AFTER_FIELD: "invalid",
  ERROR_IN_CRL_LAST_UPDATE_FIELD: "invalid",
  ERROR_IN_CRL_NEXT_UPDATE_FIELD: "invalid",
  OUT_OF_MEM: "invalid",
  CERT_CHAIN_TOO_LONG: "invalid",
  INVALID_CA: "invalid",
  PATH_LENGTH_EXCEEDED: "invalid",
  INVALID_PURPOSE: "invalid",
  CERT_REJECTED: "invalid",
  CERT_REVOKED: "revoked",
  UNSPECIFIED: "invalid",
};

/** A code that is not in the table is a fault too. */
function faultOf(code: string): Fault {
  return (Object.hasOwn(FAULTS, code) ? FAULTS[code] : undefined) ?? "invalid";
}

function invalid(code: string): FoundFault {
  return { fault: "invalid", code };
}

function missingAnchor({ path }: Chain): FoundFault {
  const top = path.at(-1)!;
  if (path.length === 1 && isSelfIssued(top)) return { fault: "selfSigned", code: "DEPTH_ZERO_SELF_SIGNED_CERT" };
  const code = isSelfIssued(top) ? "SELF_SIGNED_CERT_IN_CHAIN" : "UNABLE_TO_GET_ISSUER_CERT_LOCALLY";
  return { fault: "unknownIssuer", code };
}

function wrongDates(certificates: readonly X509Certificate[], now: number): FoundFault[] {
  return certificates.flatMap((certificate): FoundFault[] => {
    // `!(a >= b)`, not `a < b`: a date that cannot be parsed is NaN, and must be a fault.
    const { notBefore, notAfter } = readValidity(certificate);
    if (!(notAfter >= now)) return [{ fault: "expired", code: "CERT_HAS_EXPIRED" }];
    if (!(notBefore <= now)) return [{ fault: "expired", code: "CERT_NOT_YET_VALID" }];
    return [];
  });
}

/**
 * RFC 9525 with the rules of browsers: only names in subjectAltName count, a wildcard is a whole label and matches
 * exactly one, and an address matches only an address.
 */
function wrongHost(leaf: X509Certificate, host: string): FoundFault[] {
  if (isFor(leaf, host)) return [];
  return [{ fault: "hostMismatch", code: isIP(host.replace(/\.$/, "")) ? "IP_ADDRESS_MISMATCH" : "HOSTNAME_MISMATCH" }];
}

/** Whether the certificate is for this host or address. */
export function isFor(leaf: X509Certificate, host: string): boolean {
  const name = host.replace(/\.$/, "");
  if (isIP(name)) return leaf.checkIP(name) !== undefined;
  // For OpenSSL ".example.com" matches every name under it, and it throws for a NUL: refuse both.
  return /^[^.\0]/.test(name) && !name.includes("\0") && leaf.checkHost(name, BROWSER_RULES) !== undefined;
}

const BROWSER_RULES = {
  subject: "never",
  wildcards: true,
  partialWildcards: false,
  multiLabelWildcards: false,
} as const;

/** Keeps the first code for each fault, which is OpenSSL's if it found the fault; but all codes for "invalid". */
function withoutRepetition(found: readonly FoundFault[]): FoundFault[] {
  const hasCode = found.some(({ fault, code }) => fault === "invalid" && code !== "UNSPECIFIED");
  const firsts = new Map<string, FoundFault>();
  for (const one of found) {
    if (hasCode && one.code === "UNSPECIFIED") continue;
    const name = one.fault === "invalid" ? one.code : one.fault;
    if (!firsts.has(name)) firsts.set(name, one);
  }
  return [...firsts.values()];
}
