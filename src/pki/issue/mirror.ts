import { X509Certificate } from "node:crypto";
import { KEY_USAGE, readCertificate } from "../x509/certificate.ts";
import { encodeExtension, encodeKeyUsage } from "../x509/certificate-writing.ts";
import { encode, encodeOid, malformed, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { keyIdentifier } from "../x509/public-key.ts";
import { readValidity, type Validity } from "../x509/validity.ts";

/** The parts of the server's certificate that the issued one copies. */
export interface Mirrored {
  /** A whole DER element, byte for byte. */
  readonly subject: Buffer;
  /** The value of the extension, byte for byte; undefined when the original has none. */
  readonly subjectAltName: Buffer | undefined;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Certificates begin this long ago, for clients whose clock is slow. */
export const CLOCK_SKEW = 24 * 3600 * 1000;

/**
 * Reads the parts of the server's certificate that are copied: subject, subjectAltName and dates. Everything else stays
 * out of the issued one: SCTs, must-staple, CRL and OCSP pointers, policies, key identifiers, the key.
 * Throws PeerError when the certificate is not X.509 in DER, or has a date that cannot be parsed.
 */
export function mirror(der: Buffer): Mirrored {
  const { subject, extensions } = readCertificate(der);
  const { notBefore, notAfter } = datesOf(der);
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) throw malformed("notBefore or notAfter is not a date");
  return { subject, subjectAltName: extensions.get(OID.subjectAltName)?.value, notBefore, notAfter };
}

function datesOf(der: Buffer): Validity {
  try {
    return readValidity(new X509Certificate(der));
  } catch {
    throw malformed("OpenSSL rejects it");
  }
}

/**
 * The dates of an issued certificate: within the original's, not after the CA's end, and at most `maxValidity` ms long.
 * They begin a day ago, or later if the original does, so that the past of a long-lived original does not use up
 * `maxValidity`.
 *
 * The certificate of an expired original has expired too, and that of a future one is not valid yet, so that the browser
 * warns for the true reason.
 */
export function mirrorValidity(original: Validity, authority: Validity, maxValidity: number, now: number): Validity {
  const expired = original.notAfter <= now;
  const earliest = expired ? original.notAfter - maxValidity : Math.max(authority.notBefore, now - CLOCK_SKEW);
  const notBefore = Math.max(original.notBefore, earliest);
  return { notBefore, notAfter: Math.min(original.notAfter, authority.notAfter, notBefore + maxValidity) };
}

/** The extensions of an issued certificate, whole DER elements. `publicKey`: the issued certificate's. */
export function mirrorExtensions(
  original: Mirrored,
  publicKey: Buffer,
  rsa: boolean,
  authorityKeyId: Buffer,
): Buffer[] {
  const usage = KEY_USAGE.digitalSignature | (rsa ? KEY_USAGE.keyEncipherment : 0);
  const extensions = [
    encodeExtension(OID.basicConstraints, true, encode(TAG.sequence)),
    encodeExtension(OID.keyUsage, true, encodeKeyUsage(usage)),
    encodeExtension(OID.extendedKeyUsage, false, encode(TAG.sequence, encodeOid(OID.serverAuth))),
    encodeExtension(OID.subjectKeyIdentifier, false, encode(TAG.octetString, keyIdentifier(publicKey))),
    encodeExtension(OID.authorityKeyIdentifier, false, encode(TAG.sequence, encode(0x80, authorityKeyId))),
  ];
  if (original.subjectAltName) {
    // RFC 5280, section 4.2.1.6: critical when the subject is empty.
    const critical = original.subject.equals(encode(TAG.sequence));
    extensions.push(encodeExtension(OID.subjectAltName, critical, original.subjectAltName));
  }
  return extensions;
}
