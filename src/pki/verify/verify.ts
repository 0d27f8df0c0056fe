import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Fault } from "../../vocabulary.ts";
import { type Chain, findChain, isSelfIssued, type RootSet } from "../x509/chain.ts";
import { readValidity } from "../x509/validity.ts";
import { breaches, constraints, orMalformed, weaknesses } from "./strictness.ts";

/** In the place of OpenSSL's code for a chain that it has not seen: everything is looked at here. */
export const NOT_VERIFIED = "NOT_VERIFIED";

export interface FoundFault {
  readonly fault: Fault;
  /** OpenSSL's name for it: "CERT_HAS_EXPIRED". */
  readonly code: string;
}

export interface ServerProof {
  readonly leaf: X509Certificate;
  /** The certificates that the server sent along; without it, those that hang on the leaf as the TLS socket gave it. */
  readonly sent?: readonly X509Certificate[];
  /** What OpenSSL found: `authorizationError` of a socket that was told not to reject; or NOT_VERIFIED. */
  readonly code: string | undefined;
  /** Whom the client meant to reach: a name or an address; undefined when it did not say. */
  readonly host: string | undefined;
  /** Those that OpenSSL was given. */
  readonly roots: RootSet;
  /** ms since the epoch. */
  readonly now: number;
}

/**
 * Finds everything that is wrong with the certificate of a server. OpenSSL verified it, but goes on after an error
 * and reports the last one, so that "expired" may hide "signed by nobody": once it found anything, all is looked at
 * again. What browsers refuse and OpenSSL does not is looked at always.
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

/** Every code that Node has for OpenSSL's X509_V_ERR_*; those it has no name for come as UNSPECIFIED. */
const FAULTS: Readonly<Record<string, Fault>> = {
  CERT_HAS_EXPIRED: "expired",
  CERT_NOT_YET_VALID: "expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "selfSigned",
  // The chain ends in a root, but in one that is not trusted: its owner is unknown, the server did not vouch for itself.
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

/** A code that is not in the table is no reason to be lenient. */
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
    // `!(a >= b)` rather than `a < b`: a date that cannot be read is NaN, and no date is no validity.
    const { notBefore, notAfter } = readValidity(certificate);
    if (!(notAfter >= now)) return [{ fault: "expired", code: "CERT_HAS_EXPIRED" }];
    if (!(notBefore <= now)) return [{ fault: "expired", code: "CERT_NOT_YET_VALID" }];
    return [];
  });
}

/**
 * RFC 9525 as browsers follow it: names stand in subjectAltName, never in the subject; a wildcard is a whole label
 * and stands for exactly one; an address matches an address only.
 */
function wrongHost(leaf: X509Certificate, host: string): FoundFault[] {
  const name = host.replace(/\.$/, "");
  if (isIP(name)) return leaf.checkIP(name) ? [] : [{ fault: "hostMismatch", code: "IP_ADDRESS_MISMATCH" }];
  // OpenSSL takes ".example.com" to mean every name under it, and throws at a NUL: such a host is none.
  const matches = /^[^.\0]/.test(name) && !name.includes("\0") && leaf.checkHost(name, BROWSER_RULES) !== undefined;
  return matches ? [] : [{ fault: "hostMismatch", code: "HOSTNAME_MISMATCH" }];
}

const BROWSER_RULES = {
  subject: "never",
  wildcards: true,
  partialWildcards: false,
  multiLabelWildcards: false,
} as const;

/** One word for a fault is enough, except that each way of being invalid is told; OpenSSL's own word comes first. */
function withoutRepetition(found: readonly FoundFault[]): FoundFault[] {
  const named = found.some(({ fault, code }) => fault === "invalid" && code !== "UNSPECIFIED");
  const kept = new Map<string, FoundFault>();
  for (const entry of found) {
    if (named && entry.code === "UNSPECIFIED") continue;
    const name = entry.fault === "invalid" ? entry.code : entry.fault;
    if (!kept.has(name)) kept.set(name, entry);
  }
  return [...kept.values()];
}
