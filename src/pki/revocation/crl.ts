import type { X509Certificate } from "node:crypto";
import { type Extension, KEY_USAGE, OID, readCertificate, readExtensions } from "../x509/certificate.ts";
import { type Element, malformed, readElements, readInside, readTime, TAG } from "../x509/der.ts";
import { isSignedBy, readSigned, type Signed } from "../x509/signature.ts";
import type { Subject } from "./ocsp.ts";
import { type Answer, believedUntil, nameReason, notBelieved } from "./revocation-answer.ts";
import { fullNames } from "./revocation-pointers.ts";
import { indexSerials, type SerialIndex } from "./serial-index.ts";

/** A revocation list that its issuer has signed, ready to be asked. Times in ms since the epoch. */
export interface RevocationList {
  readonly issuer: Buffer;
  readonly scope: Scope;
  readonly thisUpdate: number;
  readonly nextUpdate: number | null;
  readonly until: number;
  readonly serials: SerialIndex;
  /** Memory that it takes. */
  readonly bytes: number;
}

/** What a list is about: RFC 5280, section 5.2.5. Without that extension, everything that its issuer has issued. */
interface Scope {
  /** The names of its distribution point; undefined: it is the whole. */
  readonly names: readonly string[] | undefined;
  readonly only: "users" | "authorities" | undefined;
}

/** Reads a CertificateList and makes sure that `issuer` has signed it, and that it holds now. Throws PeerError. */
export async function openRevocationList(bytes: Buffer, issuer: X509Certificate, now: number): Promise<RevocationList> {
  const { signed, revoked, ...list } = readCrl(bytes);
  const until = believedUntil(list.thisUpdate, list.nextUpdate ?? undefined, now);
  if (!maySign(issuer) || !(await isSignedBy(signed, issuer.publicKey))) throw notBelieved("a stranger has signed it");
  const serials = await indexSerials(revoked);
  return { ...list, until, serials, bytes: bytes.length + serials.bytes };
}

/** What the list says of a certificate whose distribution point has these names. Throws PeerError when it is not about it. */
export function lookUp(list: RevocationList, { certificate, issuer }: Subject, names: readonly string[]): Answer {
  const { scope, thisUpdate, nextUpdate, until } = list;
  const parts = readCertificate(certificate.raw);
  if (!list.issuer.equals(parts.issuer) && !list.issuer.equals(readCertificate(issuer.raw).subject)) {
    throw notBelieved("it is the list of another issuer");
  }
  // Who answers in place of the server may give another part of the whole, in which the certificate cannot stand.
  const isPart = scope.names !== undefined && !scope.names.some((name) => names.includes(name));
  if (isPart || scope.only === (certificate.ca ? "users" : "authorities")) {
    throw notBelieved("it is about other certificates of the issuer");
  }
  const entry = list.serials.find(parts.serial);
  if (!entry) return { status: "good", reason: null, thisUpdate, nextUpdate, until };
  const [, , extensions] = readInside(entry, TAG.sequence);
  const reason = extensions && readExtensions(extensions.whole).get(OID.reasonCode)?.value;
  return { status: "revoked", reason: reason ? readReason(reason) : null, thisUpdate, nextUpdate, until };
}

function readReason(value: Buffer): string | null {
  const [code] = readElements(value);
  return code?.tag === TAG.enumerated ? nameReason(code.content) : null;
}

interface Crl extends Pick<RevocationList, "issuer" | "scope" | "thisUpdate" | "nextUpdate"> {
  readonly signed: Signed;
  /** The contents of revokedCertificates. */
  readonly revoked: Buffer;
}

/** Takes a CertificateList apart, without its entries: RFC 5280, section 5.1. Throws PeerError. */
export function readCrl(bytes: Buffer): Crl {
  const signed = readSigned(readInside(bytes, TAG.sequence));
  const fields = readElements(signed.body.content);
  // version is there only when it is 2, and only then are there extensions.
  const isSecond = fields[0]?.tag === TAG.integer;
  if (isSecond) fields.shift();
  const [algorithm, issuer, thisUpdate, ...rest] = fields;
  if (algorithm?.tag !== TAG.sequence || issuer?.tag !== TAG.sequence || !thisUpdate) throw malformed("it is no list");
  const next = isTime(rest[0]) ? rest.shift() : undefined;
  const revoked = rest[0]?.tag === TAG.sequence ? rest.shift() : undefined;
  const extensions = rest[0]?.tag === 0xa0 && isSecond ? rest.shift() : undefined;
  if (rest.length > 0) throw malformed("it is no list");
  return {
    signed,
    issuer: issuer.whole,
    thisUpdate: readTime(thisUpdate),
    nextUpdate: next ? readTime(next) : null,
    revoked: revoked?.content ?? Buffer.alloc(0),
    scope: readScope(extensions ? readExtensions(extensions.content) : new Map()),
  };
}

function isTime(element: Element | undefined): boolean {
  return element?.tag === TAG.utcTime || element?.tag === TAG.generalizedTime;
}

function readScope(extensions: ReadonlyMap<string, Extension>): Scope {
  for (const [oid, { critical }] of extensions) {
    if (oid === OID.deltaCrlIndicator) throw notBelieved("it lists only what has changed since another list");
    if (critical && oid !== OID.issuingDistributionPoint) {
      throw notBelieved(`its extension ${oid} must be understood, and is not`);
    }
  }
  const point = extensions.get(OID.issuingDistributionPoint);
  if (!point) return { names: undefined, only: undefined };
  const fields = new Map(readInside(point.value, TAG.sequence).map(({ tag, content }) => [tag, content]));
  const says = (tag: number) => (fields.get(tag)?.[0] ?? 0) !== 0;
  // onlySomeReasons, indirectCRL, onlyContainsAttributeCerts: none of these can say that a certificate is good.
  if (fields.has(0x83) || fields.has(0xa3) || says(0x84) || says(0x85))
    throw notBelieved("it is not a list of the issuer's own");
  const name = fields.get(0xa0);
  return {
    names: name && fullNames(name),
    only: says(0x81) ? "users" : says(0x82) ? "authorities" : undefined,
  };
}

/** RFC 5280, section 6.3.3 (f): a keyUsage of the issuer's must allow it. */
function maySign({ raw }: X509Certificate): boolean {
  const usage = readCertificate(raw).extensions.get(OID.keyUsage)?.value;
  return !usage || ((usage[3] ?? 0) & KEY_USAGE.cRLSign) !== 0;
}
