import { PeerError } from "../../errors.ts";
import {
  allowsUsage,
  type CertificateParts,
  hasUnhandledCriticalExtension,
  KEY_USAGE,
  purposesOf,
  readCertificate,
} from "../x509/certificate.ts";
import { type Chain, isSelfIssued } from "../x509/chain.ts";
import { readInside, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { hasStrongKey, hasStrongSignature } from "../x509/strength.ts";

/** Checks of a chain beside OpenSSL's own. Each answers OpenSSL's codes for the faults that it finds. */

/** Weak keys and signatures. OpenSSL accepts them at security level 0, which a context needs for TLS 1.0. */
export function weaknesses({ path, anchored }: Chain): string[] {
  return path.flatMap((certificate, height) => {
    const isRoot = anchored && height === path.length - 1;
    const codes = hasStrongKey(certificate) ? [] : [height === 0 ? "EE_KEY_TOO_SMALL" : "CA_KEY_TOO_SMALL"];
    // The signature of a root or a self-issued certificate proves nothing, so it may be weak.
    if (isRoot || isSelfIssued(certificate) || hasStrongSignature(certificate)) return codes;
    return [...codes, "CA_MD_TOO_WEAK"];
  });
}

/**
 * Faults that OpenSSL finds before it verifies signatures and dates. It reports only the last fault, so an expired date
 * hides all of these.
 */
export function breaches({ path, anchored }: Chain): string[] {
  return path.flatMap((certificate, height) => {
    const parts = readCertificate(certificate.raw);
    const codes: string[] = [];
    if (hasUnhandledCriticalExtension(parts)) codes.push("UNHANDLED_CRITICAL_EXTENSION");
    // A root is trusted without further conditions.
    if (anchored && height === path.length - 1 && height > 0) return codes;
    if (!allowsServerAuth(parts)) codes.push("INVALID_PURPOSE");
    if (height === 0) return allowsUsage(parts, TLS_USAGES) ? codes : [...codes, "INVALID_PURPOSE"];
    if (!certificate.ca) codes.push("INVALID_CA");
    const below = path.slice(1, height).filter((step) => !isSelfIssued(step)).length;
    if (below > pathLength(parts)) codes.push("PATH_LENGTH_EXCEEDED");
    return codes;
  });
}

/** The keyUsages of servers in TLS: RFC 8446, section 4.4.2.2; RFC 5246, section 7.4.2. */
const TLS_USAGES = KEY_USAGE.digitalSignature | KEY_USAGE.keyEncipherment | KEY_USAGE.keyAgreement;

/** RFC 5280, section 4.2.1.12. An intermediate CA's extendedKeyUsage restricts the certificates below it. */
function allowsServerAuth(parts: CertificateParts): boolean {
  return purposesOf(parts)?.includes(OID.serverAuth) ?? true;
}

/** The most intermediate CAs below this one: RFC 5280, section 4.2.1.9. */
function pathLength({ extensions }: CertificateParts): number {
  const value = extensions.get(OID.basicConstraints)?.value;
  const fields = value ? readInside(value, TAG.sequence, "basicConstraints") : [];
  const limit = fields.find(({ tag }) => tag === TAG.integer)?.content;
  if (!limit) return Number.POSITIVE_INFINITY;
  return limit.length === 1 && limit[0]! < 0x80 ? limit[0]! : 0;
}

/**
 * Constraints on names and policies, which only OpenSSL checks. In a chain that OpenSSL has not verified, a CA with such
 * constraints counts as a fault.
 */
export function constraints({ path }: Chain): string[] {
  const needOpenSsl = [OID.nameConstraints, OID.policyConstraints, OID.inhibitAnyPolicy];
  return path.slice(1).flatMap((certificate) => {
    const { extensions } = readCertificate(certificate.raw);
    return needOpenSsl.some((oid) => extensions.has(oid)) ? ["UNHANDLED_CONSTRAINTS"] : [];
  });
}

/** Runs a check; a certificate that cannot be read is the fault MALFORMED. */
export function orMalformed(check: () => string[]): string[] {
  try {
    return check();
  } catch (error) {
    if (error instanceof PeerError) return ["MALFORMED"];
    throw error;
  }
}
