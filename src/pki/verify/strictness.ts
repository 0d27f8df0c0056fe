import type { X509Certificate } from "node:crypto";
import { PeerError } from "../../errors.ts";
import { type CertificateParts, KEY_USAGE, OID, readCertificate } from "../x509/certificate.ts";
import { type Chain, isSelfIssued } from "../x509/chain.ts";
import { readInside, TAG } from "../x509/der.ts";
import { readScheme } from "../x509/signature.ts";

/**
 * What browsers refuse however OpenSSL is set: weak keys and weak signatures. (A context that allows TLS 1.0 runs at
 * OpenSSL's security level 0, where anything goes.) Answers OpenSSL's codes.
 */
export function weaknesses({ path, anchored }: Chain): string[] {
  return path.flatMap((certificate, height) => {
    const isRoot = anchored && height === path.length - 1;
    const codes = hasStrongKey(certificate) ? [] : [height === 0 ? "EE_KEY_TOO_SMALL" : "CA_KEY_TOO_SMALL"];
    // Nobody relies on the signature of a root, nor on one that a certificate made over itself.
    if (isRoot || isSelfIssued(certificate) || hasStrongSignature(certificate)) return codes;
    return [...codes, "CA_MD_TOO_WEAK"];
  });
}

const CURVES = new Set(
  "prime256v1 secp384r1 secp521r1 secp256k1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1".split(" "),
);

/** Curves are known by name only: explicit parameters let a forger choose his own (CVE-2020-0601). */
function hasStrongKey(certificate: X509Certificate): boolean {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails: details } = certificate.publicKey;
    if (asymmetricKeyType === "rsa" || asymmetricKeyType === "rsa-pss") return (details?.modulusLength ?? 0) >= 2048;
    if (asymmetricKeyType === "ec") return CURVES.has(details?.namedCurve ?? "");
    return asymmetricKeyType === "ed25519" || asymmetricKeyType === "ed448";
  } catch {
    return false;
  }
}

function hasStrongSignature(certificate: X509Certificate): boolean {
  return readScheme(readCertificate(certificate.raw).signatureAlgorithm) !== undefined;
}

/**
 * What OpenSSL checks of a chain before it comes to signatures and dates. It reports only the last error it met, so
 * an expired date hides all of these: each is looked at again when OpenSSL found anything wrong at all.
 * Answers OpenSSL's codes.
 */
export function breaches({ path, anchored }: Chain): string[] {
  return path.flatMap((certificate, height) => {
    const parts = readCertificate(certificate.raw);
    const codes: string[] = [];
    if (hasUnknownDemand(parts)) codes.push("UNHANDLED_CRITICAL_EXTENSION");
    // A root is trusted because it is a root.
    if (anchored && height === path.length - 1 && height > 0) return codes;
    if (!allowsServerAuth(parts)) codes.push("INVALID_PURPOSE");
    if (height === 0) return mayServe(parts) ? codes : [...codes, "INVALID_PURPOSE"];
    if (!certificate.ca) codes.push("INVALID_CA");
    const below = path.slice(1, height).filter((step) => !isSelfIssued(step)).length;
    if (below > pathLength(parts)) codes.push("PATH_LENGTH_EXCEEDED");
    return codes;
  });
}

/** The critical extensions that OpenSSL or this file honours. */
const UNDERSTOOD = new Set<string>([
  OID.keyUsage,
  OID.subjectAltName,
  OID.basicConstraints,
  OID.nameConstraints,
  OID.certificatePolicies,
  OID.policyMappings,
  OID.authorityKeyIdentifier,
  OID.subjectKeyIdentifier,
  OID.policyConstraints,
  OID.extendedKeyUsage,
  OID.inhibitAnyPolicy,
]);

/** Whether it has a critical extension that nobody here understands: RFC 5280, section 4.2. */
export function hasUnknownDemand({ extensions }: CertificateParts): boolean {
  return [...extensions].some(([oid, { critical }]) => critical && !UNDERSTOOD.has(oid));
}

/**
 * What only OpenSSL can honour, in a chain that it has not seen: then a CA that may sign for some names or policies only
 * is taken for one that may not sign. Answers OpenSSL's codes.
 */
export function constraints({ path }: Chain): string[] {
  const needOpenSsl = [OID.nameConstraints, OID.policyConstraints, OID.inhibitAnyPolicy];
  return path.slice(1).flatMap((certificate) => {
    const { extensions } = readCertificate(certificate.raw);
    return needOpenSsl.some((oid) => extensions.has(oid)) ? ["UNHANDLED_CONSTRAINTS"] : [];
  });
}

/** An extendedKeyUsage, of the server's certificate or of an intermediate's, must name servers: RFC 5280, section 4.2.1.12. */
function allowsServerAuth({ extensions }: CertificateParts): boolean {
  const usages = extensions.get(OID.extendedKeyUsage)?.value;
  return !usages || readInside(usages, TAG.sequence).some(({ content }) => content.toString("hex") === OID.serverAuth);
}

/** A keyUsage of the server's must allow one of the ways in which TLS uses keys: RFC 8446, section 4.4.2.2; RFC 5246, section 7.4.2. */
function mayServe({ extensions }: CertificateParts): boolean {
  const usage = extensions.get(OID.keyUsage)?.value;
  if (!usage) return true;
  const wanted = KEY_USAGE.digitalSignature | KEY_USAGE.keyEncipherment | KEY_USAGE.keyAgreement;
  return ((usage[3] ?? 0) & wanted) !== 0;
}

/** How many intermediates may stand below this CA: RFC 5280, section 4.2.1.9. */
function pathLength({ extensions }: CertificateParts): number {
  const constraints = extensions.get(OID.basicConstraints)?.value;
  const limit = constraints && readInside(constraints, TAG.sequence).find(({ tag }) => tag === TAG.integer)?.content;
  if (!limit) return Number.POSITIVE_INFINITY;
  return limit.length === 1 && limit[0]! < 0x80 ? limit[0]! : 0;
}

/** Runs a check over certificates that may be malformed; then that is what is wrong with them. */
export function orMalformed(check: () => string[]): string[] {
  try {
    return check();
  } catch (error) {
    if (error instanceof PeerError) return ["MALFORMED"];
    throw error;
  }
}
