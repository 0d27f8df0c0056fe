import type { X509Certificate } from "node:crypto";
import { allowsUsage, type Extensions, KEY_USAGE, readCertificate, readExtensions } from "../x509/certificate.ts";
import { type Element, malformed, readElements, readInside, readTime, TAG } from "../x509/der.ts";
import { dottedOid, OID } from "../x509/oid.ts";
import { isSignedBy, readSigned, type Signed } from "../x509/signature.ts";
import type { Subject } from "./ocsp.ts";
import { type Answer, nameReason, unusable, usableUntil } from "./revocation-answer.ts";
import { fullNames } from "./revocation-pointers.ts";
import { indexSerials, type SerialIndex } from "./serial-index.ts";

/** A revocation list with a valid signature of its issuer. Times in ms since the epoch. */
export interface RevocationList {
  /** The issuer's name, a whole element. */
  readonly issuer: Buffer;
  readonly scope: Scope;
  readonly thisUpdate: number;
  readonly nextUpdate: number | null;
  /** When the node stops using it. */
  readonly until: number;
  readonly serials: SerialIndex;
  /** The memory of the list and its index. */
  readonly bytes: number;
}

/** The certificates that a list covers: RFC 5280, section 5.2.5. */
interface Scope {
  /** The names of its distribution point; undefined: it covers all distribution points. */
  readonly names: readonly string[] | undefined;
  /** undefined: it covers both. */
  readonly only: "users" | "authorities" | undefined;
}

/** Reads a CertificateList that is valid now and that `issuer` signed. `now` in ms since the epoch. Throws PeerError. */
export async function openRevocationList(bytes: Buffer, issuer: X509Certificate, now: number): Promise<RevocationList> {
  const { signed, revoked, ...list } = readCrl(bytes);
  const until = usableUntil(list.thisUpdate, list.nextUpdate, now);
  // RFC 5280, section 6.3.3 (f).
  if (!allowsUsage(readCertificate(issuer.raw), KEY_USAGE.cRLSign)) throw unusable("the issuer may not sign lists");
  if (!(await isSignedBy(signed, issuer.publicKey))) throw unusable("the issuer did not sign it");
  const serials = await indexSerials(revoked);
  return { ...list, until, serials, bytes: bytes.length + serials.bytes };
}

/**
 * The list's answer about a certificate whose distribution point has these names. Throws PeerError when the list does not
 * cover the certificate.
 */
export function lookUp(list: RevocationList, { certificate, issuer }: Subject, names: readonly string[]): Answer {
  const { scope, thisUpdate, nextUpdate, until } = list;
  const parts = readCertificate(certificate.raw);
  if (!list.issuer.equals(parts.issuer) && !list.issuer.equals(readCertificate(issuer.raw).subject)) {
    throw unusable("the list is of another issuer");
  }
  // HTTP is not authenticated: an attacker could answer with the issuer's list for other certificates.
  const isOtherPoint = scope.names !== undefined && !scope.names.some((name) => names.includes(name));
  if (isOtherPoint || scope.only === (certificate.ca ? "users" : "authorities")) {
    throw unusable("the list does not cover this certificate");
  }
  const entry = list.serials.find(parts.serial);
  if (!entry) return { status: "good", reason: null, thisUpdate, nextUpdate, until };
  return { status: "revoked", reason: readReason(entry), thisUpdate, nextUpdate, until };
}

/** The name of an entry's reasonCode: RFC 5280, section 5.3.1. */
function readReason(entry: Buffer): string | null {
  const [, , extensions] = readInside(entry, TAG.sequence, "an entry of revokedCertificates");
  const value = extensions && readExtensions(extensions.whole).get(OID.reasonCode)?.value;
  const code = value && readElements(value)[0];
  return code?.tag === TAG.enumerated ? nameReason(code.content) : null;
}

interface Crl extends Pick<RevocationList, "issuer" | "scope" | "thisUpdate" | "nextUpdate"> {
  readonly signed: Signed;
  /** The contents of revokedCertificates. */
  readonly revoked: Buffer;
}

/** Reads a CertificateList without its entries: RFC 5280, section 5.1. Throws PeerError. */
export function readCrl(bytes: Buffer): Crl {
  const signed = readSigned(readInside(bytes, TAG.sequence, "CertificateList"), "tbsCertList");
  const fields = readElements(signed.body.content);
  // version is absent from version 1, which has no extensions.
  const isSecond = fields[0]?.tag === TAG.integer;
  if (isSecond) fields.shift();
  const [algorithm, issuer, thisUpdate, ...rest] = fields;
  if (algorithm?.tag !== TAG.sequence) throw malformed("signature of tbsCertList is not a SEQUENCE");
  if (issuer?.tag !== TAG.sequence) throw malformed("issuer of tbsCertList is not a SEQUENCE");
  const nextUpdate = isTime(rest[0]) ? rest.shift() : undefined;
  const revoked = rest[0]?.tag === TAG.sequence ? rest.shift() : undefined;
  const extensions = rest[0]?.tag === 0xa0 && isSecond ? rest.shift() : undefined;
  if (rest.length > 0) throw malformed("tbsCertList has an unexpected field");
  return {
    signed,
    issuer: issuer.whole,
    thisUpdate: readTime(thisUpdate, "thisUpdate"),
    nextUpdate: nextUpdate ? readTime(nextUpdate, "nextUpdate") : null,
    revoked: revoked?.content ?? Buffer.alloc(0),
    scope: readScope(extensions ? readExtensions(extensions.content) : new Map()),
  };
}

function isTime(element: Element | undefined): boolean {
  return element?.tag === TAG.utcTime || element?.tag === TAG.generalizedTime;
}

function readScope(extensions: Extensions): Scope {
  if (extensions.has(OID.deltaCrlIndicator)) throw unusable("it is a delta CRL");
  for (const [oid, { critical }] of extensions) {
    if (critical && oid !== OID.issuingDistributionPoint) {
      throw unusable(`it has the critical extension ${dottedOid(oid)}, which is not supported`);
    }
  }
  const point = extensions.get(OID.issuingDistributionPoint);
  if (!point) return { names: undefined, only: undefined };
  const elements = readInside(point.value, TAG.sequence, "issuingDistributionPoint");
  const fields = new Map(elements.map(({ tag, content }) => [tag, content]));
  const isTrue = (tag: number) => (fields.get(tag)?.[0] ?? 0) !== 0;
  // None of these lists can show that a certificate is good.
  if (fields.has(0x83) || fields.has(0xa3)) throw unusable("onlySomeReasons is not supported");
  if (isTrue(0x84)) throw unusable("indirectCRL is not supported");
  if (isTrue(0x85)) throw unusable("onlyContainsAttributeCerts is not supported");
  const name = fields.get(0xa0);
  return {
    names: name && fullNames(name),
    only: isTrue(0x81) ? "users" : isTrue(0x82) ? "authorities" : undefined,
  };
}
