import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { Fault } from "../../vocabulary.ts";
import { readCertificate } from "../x509/certificate.ts";
import { readValidity } from "../x509/validity.ts";
import { matchesHost } from "./host.ts";
import { excludedWildcards, type KeyUse, misuses, orMalformed, weaknesses } from "./strictness.ts";

export interface FoundFault {
  readonly fault: Fault;
  /** OpenSSL's name: "CERT_HAS_EXPIRED". */
  readonly code: string;
}

/** What OpenSSL found. It looks at neither names nor purposes nor the strength of keys. */
export interface VerifiedChain {
  /** The names of all its errors, the most important one first. */
  readonly errors: readonly string[];
  /** The server's certificate first, then each certificate's issuer. */
  readonly path: readonly X509Certificate[];
  /** Whether the last certificate of `path` is a trusted one. */
  readonly anchored: boolean;
}

export interface ServerProof {
  readonly leaf: X509Certificate;
  readonly chain: VerifiedChain;
  /** The name or address that the client requested; undefined: it is not known. */
  readonly host: string | undefined;
  /** What the server's key was used for; undefined: it is not known. */
  readonly use: KeyUse | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

/** All faults of a server's certificate: those that OpenSSL found, and what browsers refuse and OpenSSL accepts. */
export function verifyServer({ leaf, chain, host, use, now }: ServerProof): FoundFault[] {
  const { errors, path, anchored } = chain;
  const found = errors.map((code): FoundFault => ({ fault: faultOf(code), code }));
  if (!anchored && !found.some(({ fault }) => fault === "unknownIssuer" || fault === "selfSigned")) {
    found.push({ fault: "unknownIssuer", code: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY" });
  }
  found.push(...wrongDates(path, now));
  for (const check of [
    () => weaknesses(path, anchored),
    () => misuses(path, anchored, use),
    () => excludedWildcards(path),
  ]) {
    found.push(...orMalformed(check).map((code): FoundFault => ({ fault: "invalid", code })));
  }
  if (host !== undefined) found.push(...wrongHost(leaf, host));
  return withoutRepetition(found);
}

/** OpenSSL's errors that are not "invalid". */
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
};

function faultOf(code: string): Fault {
  return (Object.hasOwn(FAULTS, code) ? FAULTS[code] : undefined) ?? "invalid";
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

function wrongHost(leaf: X509Certificate, host: string): FoundFault[] {
  if (isFor(leaf, host)) return [];
  return [{ fault: "hostMismatch", code: isIP(host.replace(/\.$/, "")) ? "IP_ADDRESS_MISMATCH" : "HOSTNAME_MISMATCH" }];
}

/** Whether the certificate is for this host or address. One that cannot be read is for none. */
export function isFor(leaf: X509Certificate, host: string): boolean {
  return orMalformed(() => (matchesHost(readCertificate(leaf.raw), host) ? [] : ["other"])).length === 0;
}

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
