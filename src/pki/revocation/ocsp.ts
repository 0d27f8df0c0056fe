import { createHash, X509Certificate } from "node:crypto";
import {
  allowsUsage,
  hasUnhandledCriticalExtension,
  KEY_USAGE,
  purposesOf,
  readCertificate,
} from "../x509/certificate.ts";
import { encode, encodeNull, encodeOid, TAG } from "../x509/der.ts";
import { isIssuedBy } from "../x509/issuing.ts";
import { OID } from "../x509/oid.ts";
import { keyBits } from "../x509/public-key.ts";
import { isSignedBy } from "../x509/signature.ts";
import { hasStrongKey, hasStrongSignature } from "../x509/strength.ts";
import { readValidity } from "../x509/validity.ts";
import { type OcspResponse, readOcspResponse, type SingleResponse } from "./ocsp-response.ts";
import { type Answer, unusable, usableUntil } from "./revocation-answer.ts";

/** The Online Certificate Status Protocol: RFC 6960, with the profile of RFC 5019. */

/** A certificate and its issuer. */
export interface Subject {
  readonly certificate: X509Certificate;
  readonly issuer: X509Certificate;
}

/**
 * Writes an OCSPRequest for one certificate, without a nonce: stapled and cached responses have none. Every responder
 * knows SHA-1 (RFC 5019, section 2.1.1), which only names the issuer here and protects nothing.
 */
export function writeOcspRequest({ certificate, issuer }: Subject): Buffer {
  const { subject, publicKey } = readCertificate(issuer.raw);
  const certId = encode(
    TAG.sequence,
    encode(TAG.sequence, encodeOid(OID.sha1), encodeNull()),
    encode(TAG.octetString, digest("sha1", subject)),
    encode(TAG.octetString, digest("sha1", keyBits(publicKey))),
    encode(TAG.integer, readCertificate(certificate.raw).serial),
  );
  const requestList = encode(TAG.sequence, encode(TAG.sequence, certId));
  return encode(TAG.sequence, encode(TAG.sequence, requestList));
}

/**
 * The answer of an OCSP response about a certificate. Throws PeerError when the response is about another certificate, is
 * not valid now, or has no authorised signer. `now` in ms since the epoch.
 */
export async function judgeOcspResponse(bytes: Buffer, subject: Subject, now: number): Promise<Answer> {
  const response = readOcspResponse(bytes);
  const found = findResponse(response, subject);
  if (!found) throw unusable("the response is about another certificate");
  const { status, reason, thisUpdate, nextUpdate } = found;
  const until = usableUntil(thisUpdate, nextUpdate, now);
  if (!(await isAuthorised(response, subject.issuer, now))) {
    throw unusable("the signer is not authorised for this issuer");
  }
  return { status, reason, thisUpdate, nextUpdate, until };
}

/** The response whose CertID has the certificate's serial number and the hashes of its issuer's name and key. */
function findResponse({ responses }: OcspResponse, { certificate, issuer }: Subject): SingleResponse | undefined {
  const { serial } = readCertificate(certificate.raw);
  const { subject, publicKey } = readCertificate(issuer.raw);
  return responses.find(
    ({ hash, ...response }) =>
      response.serial.equals(serial) &&
      hash !== undefined &&
      response.issuerName.equals(digest(hash, subject)) &&
      response.issuerKey.equals(digest(hash, keyBits(publicKey))),
  );
}

/** RFC 6960, section 4.2.2.2: the issuer signs, or a responder whose certificate the issuer signed for this purpose. */
async function isAuthorised({ signed, responder, certificates }: OcspResponse, issuer: X509Certificate, now: number) {
  if (isNamed(issuer, responder) && (await isSignedBy(signed, issuer.publicKey))) return true;
  for (const der of certificates) {
    const delegate = parseCertificate(der);
    if (!delegate || !isNamed(delegate, responder) || !isDelegate(delegate, issuer, now)) continue;
    if (await isSignedBy(signed, delegate.publicKey)) return true;
  }
  return false;
}

/** Whether the responderID names this certificate. */
function isNamed({ raw }: X509Certificate, responder: OcspResponse["responder"]): boolean {
  const { subject, publicKey } = readCertificate(raw);
  return "name" in responder
    ? responder.name.equals(subject)
    : responder.keyHash.equals(digest("sha1", keyBits(publicKey)));
}

function parseCertificate(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

/**
 * Whether the issuer made this certificate for OCSP responses, and it is valid now. Its own revocation is not checked,
 * with or without id-pkix-ocsp-nocheck (section 4.2.2.2.1): browsers and OpenSSL do not check it either.
 */
function isDelegate(delegate: X509Certificate, issuer: X509Certificate, now: number): boolean {
  const parts = readCertificate(delegate.raw);
  const { notBefore, notAfter } = readValidity(delegate);
  return (
    purposesOf(parts)?.includes(OID.ocspSigning) === true &&
    !hasUnhandledCriticalExtension(parts) &&
    allowsUsage(parts, KEY_USAGE.digitalSignature) &&
    notBefore <= now &&
    notAfter >= now &&
    [delegate, issuer].every(hasStrongKey) &&
    hasStrongSignature(delegate) &&
    isIssuedBy(delegate, issuer)
  );
}

function digest(hash: string, bytes: Buffer): Buffer {
  return createHash(hash).update(bytes).digest();
}
