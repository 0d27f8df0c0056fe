import { X509Certificate } from "node:crypto";
import {
  encodeExtension,
  encodeKeyUsage,
  KEY_USAGE,
  keyIdentifier,
  OID,
  readCertificate,
} from "../x509/certificate.ts";
import { encode, encodeOid, malformed, TAG } from "../x509/der.ts";
import { readValidity, type Validity } from "../x509/validity.ts";

/** What an issued certificate takes over from the server's own. */
export interface Mirrored {
  /** The subject, a whole DER element, byte for byte. */
  readonly subject: Buffer;
  /** The value of subjectAltName, byte for byte; undefined when the original has none. */
  readonly subjectAltName: Buffer | undefined;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A client whose clock is slow by less than this still accepts what is issued now. */
export const CLOCK_SKEW = 24 * 3600 * 1000;

/**
 * Reads from the server's certificate all that is copied: subject and subjectAltName. What is not read here cannot
 * leak into an issued one: SCTs, must-staple, CRL and OCSP pointers, policies, key identifiers, the key.
 * Throws PeerError when it is not X.509 in DER.
 */
export function mirror(der: Buffer): Mirrored {
  const { subject, extensions } = readCertificate(der);
  const { notBefore, notAfter } = datesOf(der);
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) throw malformed("its dates are none");
  return { subject, subjectAltName: extensions.get(OID.subjectAltName)?.value, notBefore, notAfter };
}

function datesOf(der: Buffer): Validity {
  try {
    return readValidity(new X509Certificate(der));
  } catch {
    throw malformed("OpenSSL does not take it for one");
  }
}

/**
 * The dates of an issued certificate: never beyond the original's on either side, nor beyond the CA's end, and
 * `maxValidity` ms long at most. They begin a day ago at the earliest rather than with the original, so that a
 * long-lived original does not use up the maximum with its past.
 *
 * An original that is expired keeps its own end, and one that is not yet valid its own beginning: the browser then
 * warns for the reason that is true.
 */
export function mirrorValidity(original: Validity, authority: Validity, maxValidity: number, now: number): Validity {
  const expired = original.notAfter <= now;
  const earliest = expired ? original.notAfter - maxValidity : Math.max(authority.notBefore, now - CLOCK_SKEW);
  const notBefore = Math.max(original.notBefore, earliest);
  return { notBefore, notAfter: Math.min(original.notAfter, authority.notAfter, notBefore + maxValidity) };
}

/** The extensions of an issued certificate, whole DER elements: product.md, section 4. `publicKey` is its own. */
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
    // RFC 5280, section 4.2.1.6: critical when the subject is empty, for then it is all the identity there is.
    const critical = original.subject.equals(encode(TAG.sequence));
    extensions.push(encodeExtension(OID.subjectAltName, critical, original.subjectAltName));
  }
  return extensions;
}
