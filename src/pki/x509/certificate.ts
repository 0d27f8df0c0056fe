import { malformed, oidOf, readElements, readInside, TAG } from "./der.ts";
import { OID } from "./oid.ts";

/** The parts of a certificate that Node does not give, or not byte for byte. Names are whole DER elements. */
export interface CertificateParts {
  /** 1, 2 or 3. */
  readonly version: number;
  /** The contents of serialNumber, with the leading zero that a number with its highest bit set has. */
  readonly serial: Buffer;
  readonly subject: Buffer;
  readonly issuer: Buffer;
  /** SubjectPublicKeyInfo, a whole element. */
  readonly publicKey: Buffer;
  /** The signature's AlgorithmIdentifier, a whole element. */
  readonly signatureAlgorithm: Buffer;
  readonly extensions: Extensions;
}

/** By object identifier, as in OID. */
export type Extensions = ReadonlyMap<string, Extension>;

export interface Extension {
  readonly critical: boolean;
  /** The contents of extnValue. */
  readonly value: Buffer;
}

/** Reads a certificate: RFC 5280, section 4.1. Throws PeerError when it is not X.509 in DER. */
export function readCertificate(der: Buffer): CertificateParts {
  const [tbs] = readInside(der, TAG.sequence, "the certificate");
  if (tbs?.tag !== TAG.sequence) throw malformed("tbsCertificate is not a SEQUENCE");
  const fields = readElements(tbs.content);
  // version [0] is absent from a version 1 certificate.
  const version = fields[0]?.tag === 0xa0 ? (fields.shift()!.content.at(-1) ?? 0) + 1 : 1;
  const [serial, signatureAlgorithm, issuer, , subject, publicKey, ...rest] = fields;
  if (!serial || !signatureAlgorithm || !issuer || !subject || !publicKey) {
    throw malformed("tbsCertificate has fewer than six fields");
  }
  const extensions = rest.find(({ tag }) => tag === 0xa3);
  return {
    version,
    serial: serial.content,
    subject: subject.whole,
    issuer: issuer.whole,
    publicKey: publicKey.whole,
    signatureAlgorithm: signatureAlgorithm.whole,
    extensions: extensions ? readExtensions(extensions.content) : new Map(),
  };
}

/** Reads Extensions: RFC 5280, section 4.1. Revocation lists and OCSP responses have the same. Throws PeerError. */
export function readExtensions(bytes: Buffer): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const [index, { whole }] of readInside(bytes, TAG.sequence, "extensions").entries()) {
    const name = `extension ${index + 1}`;
    const [id, ...rest] = readInside(whole, TAG.sequence, name);
    const critical = rest.length === 2 && rest[0]?.tag === TAG.boolean && rest[0].content[0] !== 0;
    const value = rest.at(-1);
    if (id?.tag !== TAG.oid) throw malformed(`extnID of ${name} is not an OBJECT IDENTIFIER`);
    if (value?.tag !== TAG.octetString) throw malformed(`extnValue of ${name} is not an OCTET STRING`);
    const oid = oidOf(id);
    // RFC 5280, section 4.2: at most one of each. With two, two readers could see two different certificates.
    if (extensions.has(oid)) throw malformed(`${name} repeats an earlier one`);
    extensions.set(oid, { critical, value: value.content });
  }
  return extensions;
}

/** The extensions that OpenSSL or `verify/strictness.ts` checks. */
const HANDLED = new Set<string>([
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

/** RFC 5280, section 4.2: a certificate with a critical extension that is not handled must be rejected. */
export function hasUnhandledCriticalExtension({ extensions }: CertificateParts): boolean {
  return [...extensions].some(([oid, { critical }]) => critical && !HANDLED.has(oid));
}

/** Bits of keyUsage (RFC 5280, section 4.2.1.3); the first is the highest of the first byte. */
export const KEY_USAGE = {
  digitalSignature: 0x80,
  keyEncipherment: 0x20,
  keyAgreement: 0x08,
  keyCertSign: 0x04,
  cRLSign: 0x02,
} as const;

/** Whether keyUsage has one of these bits; without the extension the key may be used for anything. */
export function allowsUsage({ extensions }: CertificateParts, bits: number): boolean {
  const usage = extensions.get(OID.keyUsage)?.value;
  // A BIT STRING: tag, length, number of unused bits, first byte.
  return !usage || ((usage[3] ?? 0) & bits) !== 0;
}

/** The purposes in extendedKeyUsage; undefined without the extension. Throws PeerError. */
export function purposesOf({ extensions }: CertificateParts): readonly string[] | undefined {
  const purposes = extensions.get(OID.extendedKeyUsage)?.value;
  return purposes && readInside(purposes, TAG.sequence, "extendedKeyUsage").map(oidOf);
}
