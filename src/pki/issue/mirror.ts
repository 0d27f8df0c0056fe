import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type Extensions, KEY_USAGE, readCertificate } from "../x509/certificate.ts";
import { readName } from "../x509/certificate-record.ts";
import { encodeExtension, encodeKeyUsage, encodeName } from "../x509/certificate-writing.ts";
import { type Element, encode, encodeOid, malformed, oidOf, readElements, readInside, TAG } from "../x509/der.ts";
import { encodeAlternatives, GENERAL_NAME, readAlternatives } from "../x509/general-name.ts";
import { OID } from "../x509/oid.ts";
import { keyIdentifier } from "../x509/public-key.ts";
import { readValidity, type Validity } from "../x509/validity.ts";

/** The parts of the server's certificate that the issued one copies. */
export interface Mirrored {
  /** A whole DER element. */
  readonly subject: Buffer;
  /** The value of the extension; undefined when the original has no name that a client can ask for. */
  readonly subjectAltName: Buffer | undefined;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Certificates begin this long ago, for clients whose clock is slow. */
export const CLOCK_SKEW = 24 * 3600 * 1000;

/**
 * Reads the parts of the server's certificate that are copied: subject, names and dates. Everything else stays
 * out of the issued one: SCTs, must-staple, CRL and OCSP pointers, policies, key identifiers, the key.
 * `names` take the place of those in subjectAltName. Throws PeerError when the certificate is not X.509 in DER, or has a date that
 * cannot be parsed.
 */
export function mirror(der: Buffer, names?: readonly string[]): Mirrored {
  const { subject, extensions } = readCertificate(der);
  const { notBefore, notAfter } = datesOf(der);
  if (Number.isNaN(notBefore) || Number.isNaN(notAfter)) throw malformed("notBefore or notAfter is not a date");
  const named = names ? replaceNames(subject, extensions, names) : mirrorNames(subject, extensions);
  return { ...named, notBefore, notAfter };
}

/** The longest common name: RFC 5280, appendix A.1. */
const LONGEST_NAME = 64;

/** For a certificate that stands for no server's: names, valid for a day. */
export function unmirrored(names: readonly string[], now: number): Mirrored {
  const [name] = names.filter(({ length }) => length <= LONGEST_NAME);
  return {
    subject: encodeName(name === undefined ? [] : [[OID.commonName, name]]),
    subjectAltName: encodeAlternatives(names),
    notBefore: now - CLOCK_SKEW,
    notAfter: now + CLOCK_SKEW,
  };
}

/**
 * Of subjectAltName only the DNS names and addresses that a client can ask for: others, such as a NUL, a comma, an e-mail address
 * or "*", can only mislead. The subject is copied byte for byte. Where no alternative name is left, old clients go by the common
 * name: then one that an original's alternative names have overruled, or that has a NUL in it, is left out.
 */
function mirrorNames(subject: Buffer, extensions: Extensions): Pick<Mirrored, "subject" | "subjectAltName"> {
  const alternatives = readAlternatives(extensions);
  const usable = alternatives.filter((name) => canBeAskedFor(name)).map(({ whole }) => whole);
  if (usable.length > 0) return { subject, subjectAltName: encode(TAG.sequence, ...usable) };
  const misleads = extensions.has(OID.subjectAltName) ? () => true : hasControlCharacter;
  return { subject: withoutCommonNames(subject, misleads), subjectAltName: undefined };
}

/** These names, and no common name that is another one of the original's. */
function replaceNames(
  subject: Buffer,
  extensions: Extensions,
  names: readonly string[],
): Pick<Mirrored, "subject" | "subjectAltName"> {
  const others = readAlternatives(extensions)
    .map(readName)
    .filter((name) => name && !names.includes(name));
  const isOther = (value: Buffer) => others.includes(value.toString("latin1").toLowerCase());
  return { subject: withoutCommonNames(subject, isOther), subjectAltName: encodeAlternatives(names) };
}

function canBeAskedFor(name: Element): boolean {
  const text = readName(name);
  return text !== undefined && (name.tag === GENERAL_NAME.ip || (isIP(text) === 0 && !name.content.includes(".", -1)));
}

function withoutCommonNames(subject: Buffer, misleads: (value: Buffer) => boolean): Buffer {
  const sets = readInside(subject, TAG.sequence, "subject");
  const kept = sets.filter(({ content }) =>
    readElements(content).every((attribute) => {
      const [type, value] = readElements(attribute.content);
      return oidOf(type) !== OID.commonName || !value || !misleads(value.content);
    }),
  );
  return kept.length === sets.length ? subject : encode(TAG.sequence, ...kept.map(({ whole }) => whole));
}

function hasControlCharacter(value: Buffer): boolean {
  return value.some((byte) => byte < 0x20 || byte === 0x7f);
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
 *
 * `steady`: the time by a clock that nobody sets. If the node's clock was set ahead, one of the two is wrong, and the certificate is
 * valid by both, unless that would leave it less than half of `maxValidity`.
 */
export function mirrorValidity(
  original: Validity,
  authority: Validity,
  maxValidity: number,
  { now, steady = now }: { readonly now: number; readonly steady?: number },
): Validity {
  const expired = original.notAfter <= now;
  const ahead = now - steady;
  const begun = now - (ahead > 0 && ahead <= maxValidity / 2 ? ahead : 0) - CLOCK_SKEW;
  const earliest = expired ? original.notAfter - maxValidity : Math.max(authority.notBefore, begun);
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
