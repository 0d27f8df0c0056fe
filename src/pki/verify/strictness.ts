import type { X509Certificate } from "node:crypto";
import { PeerError } from "../../errors.ts";
import { allowsUsage, type CertificateParts, KEY_USAGE, purposesOf, readCertificate } from "../x509/certificate.ts";
import { readElements, readInside, TAG } from "../x509/der.ts";
import { GENERAL_NAME, readAlternatives } from "../x509/general-name.ts";
import { OID } from "../x509/oid.ts";
import { hasStrongKey, hasStrongSignature } from "../x509/strength.ts";

/**
 * What browsers check and OpenSSL does not, or not in their way. Each function answers OpenSSL's codes for the faults that it finds,
 * and throws PeerError for a certificate that is not X.509 in DER.
 */

/** The server's certificate first, then each certificate's issuer. */
type Path = readonly X509Certificate[];

/** Weak keys and signatures. */
export function weaknesses(path: Path, anchored: boolean): string[] {
  return path.flatMap((certificate, height) => {
    const codes = hasStrongKey(certificate) ? [] : [height === 0 ? "EE_KEY_TOO_SMALL" : "CA_KEY_TOO_SMALL"];
    // The signature of a trusted or a self-issued certificate proves nothing, so it may be weak.
    const isTrusted = anchored && height === path.length - 1;
    if (isTrusted || certificate.checkIssued(certificate) || hasStrongSignature(certificate)) return codes;
    return [...codes, "CA_MD_TOO_WEAK"];
  });
}

/** What the server's key did in the handshake: it signed, or the client encrypted the premaster secret with it. */
export type KeyUse = "sign" | "encipher";

/** Purposes and keyUsage: what a certificate may be used for. */
export function misuses(path: Path, anchored: boolean, use: KeyUse | undefined): string[] {
  return path.flatMap((certificate, height) => {
    const parts = readCertificate(certificate.raw);
    const codes = allowsServers(parts) ? [] : ["INVALID_PURPOSE"];
    if (parts.version < 3 && parts.extensions.size > 0) codes.push("EXTENSIONS_REQUIRE_VERSION_3");
    if (height === 0) return [...codes, ...leafMisuses(parts, use)];
    // OpenSSL takes keyUsage, too, for a proof that an intermediate is a CA. A trusted one may be of a time before there was any.
    const isTrusted = anchored && height === path.length - 1;
    return certificate.ca || isTrusted ? codes : [...codes, "INVALID_CA"];
  });
}

function leafMisuses(parts: CertificateParts, use: KeyUse | undefined): string[] {
  // A list of names that cannot be read is more than a list without the host.
  readAlternatives(parts.extensions);
  // RFC 5280, section 4.2.1.10: only CAs may have it. A critical one that means nothing must not be ignored.
  const codes = parts.extensions.get(OID.nameConstraints)?.critical ? ["INVALID_EXTENSION"] : [];
  return allowsUsage(parts, USAGES[use ?? "either"]) ? codes : [...codes, "KEYUSAGE_NO_DIGITAL_SIGNATURE"];
}

/** RFC 8446, section 4.4.2.2; RFC 5246, section 7.4.2. */
const USAGES = {
  sign: KEY_USAGE.digitalSignature,
  encipher: KEY_USAGE.keyEncipherment,
  either: KEY_USAGE.digitalSignature | KEY_USAGE.keyEncipherment,
};

/**
 * RFC 5280, section 4.2.1.12. A CA's extendedKeyUsage restricts the certificates below it. Server Gated Crypto, which OpenSSL accepts,
 * is of a time of export restrictions.
 */
function allowsServers(parts: CertificateParts): boolean {
  const purposes = purposesOf(parts);
  return !purposes || purposes.includes(OID.serverAuth) || purposes.includes(OID.anyExtendedKeyUsage);
}

/**
 * RFC 5280, section 4.2.1.10: "*.example.com" is also a certificate for an excluded "www.example.com". OpenSSL compares the names
 * themselves.
 */
export function excludedWildcards(path: Path): string[] {
  const excluded = new Set<string>();
  for (const certificate of path.toReversed()) {
    const { extensions } = readCertificate(certificate.raw);
    const wildcards = excluded.size === 0 ? [] : readAlternatives(extensions).flatMap(wildcardBase);
    if (wildcards.some((base) => excluded.has(base))) return ["EXCLUDED_VIOLATION"];
    const constraints = extensions.get(OID.nameConstraints)?.value;
    for (const parent of constraints ? excludedParents(constraints) : []) excluded.add(parent);
  }
  return [];
}

/** "example.com" for "*.example.com". */
function wildcardBase({ tag, content }: { readonly tag: number; readonly content: Buffer }): string[] {
  if (tag !== GENERAL_NAME.dns) return [];
  const name = content.toString("latin1").toLowerCase();
  return name.startsWith("*.") ? [name.slice(2)] : [];
}

/** For each excluded DNS name, the name that it is directly below. */
function excludedParents(constraints: Buffer): string[] {
  const subtrees = readInside(constraints, TAG.sequence, "nameConstraints").find(({ tag }) => tag === 0xa1);
  const names = subtrees ? readElements(subtrees.content).map(({ content }) => readElements(content)[0]) : [];
  return names.flatMap((name) => {
    if (name?.tag !== GENERAL_NAME.dns) return [];
    const [label, ...rest] = name.content.toString("latin1").toLowerCase().split(".");
    return label ? [rest.join(".")] : [];
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
