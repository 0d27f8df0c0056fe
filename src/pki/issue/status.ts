import { createHash, type KeyObject, sign } from "node:crypto";
import { promisify } from "node:util";
import { readCertificate } from "../x509/certificate.ts";
import { encodeExtension, signatureOf } from "../x509/certificate-writing.ts";
import {
  type Element,
  encode,
  encodeGeneralizedTime,
  encodeInteger,
  encodeNull,
  encodeOid,
  encodeTime,
  oidOf,
  readElements,
  readInside,
  TAG,
} from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { keyBits } from "../x509/public-key.ts";

/** A CA as it answers for its own certificates. */
export interface Issuer {
  /** A whole DER element. */
  readonly name: Buffer;
  readonly keyId: Buffer;
  readonly certificate: { readonly raw: Buffer };
  readonly key: KeyObject;
}

const HOUR = 3600 * 1000;
/** How long an answer counts. Issued certificates are kept for a day, and a client may keep a session for hours. */
const LIFETIME = 7 * 24 * HOUR;

const signInBackground = promisify(sign);

/** The OCSP response that says that the certificate with this serial number is good. `now` in ms since the epoch. */
export function writeGoodStatus(serial: Buffer, issuer: Issuer, now: number): Promise<Buffer> {
  // Every client knows SHA-1 (RFC 5019, section 2.1.1), which only names the issuer here and protects nothing.
  const algorithm = encode(TAG.sequence, encodeOid(OID.sha1), encodeNull());
  const { name, key } = hashesOf(issuer, "sha1");
  const hashes = [name, key].map((hash) => encode(TAG.octetString, hash));
  return answerGood(encode(TAG.sequence, algorithm, ...hashes, encodeInteger(serial)), issuer, now);
}

/**
 * The same for a CertID: RFC 6960, section 4.2.1, with the profile of RFC 5019. The CA signs itself. It is named, because GnuTLS does
 * not find a CA that is not sent along by its key.
 */
export async function answerGood(certId: Buffer, { name, key }: Issuer, now: number): Promise<Buffer> {
  // Clients' clocks differ.
  const thisUpdate = encodeGeneralizedTime(now - HOUR);
  const nextUpdate = encode(0xa0, encodeGeneralizedTime(now + LIFETIME));
  const single = encode(TAG.sequence, certId, encode(0x80), thisUpdate, nextUpdate);
  const body = encode(TAG.sequence, encode(0xa1, name), encodeGeneralizedTime(now), encode(TAG.sequence, single));
  const basic = await signed(body, key);
  const bytes = encode(TAG.sequence, encodeOid(OID.ocspBasic), encode(TAG.octetString, basic));
  return encode(TAG.sequence, encode(TAG.enumerated, Buffer.from([SUCCESSFUL])), encode(0xa0, bytes));
}

/** OCSPResponseStatus: RFC 6960, section 4.2.1. */
const SUCCESSFUL = 0;
export const REFUSALS = { malformedRequest: 1, unauthorized: 6 } as const;

/** A response that answers nothing. */
export function refuseRequest(reason: keyof typeof REFUSALS): Buffer {
  return encode(TAG.sequence, encode(TAG.enumerated, Buffer.from([REFUSALS[reason]])));
}

/** The first CertID of an OCSPRequest: RFC 6960, section 4.1.1. Throws PeerError. */
export function readCertId(request: Buffer): Element | undefined {
  const [body] = readInside(request, TAG.sequence, "OCSPRequest");
  const list = body && readElements(body.content).find(({ tag }) => tag === TAG.sequence);
  const [first] = list ? readElements(list.content) : [];
  return first && readElements(first.content)[0];
}

/** Whether a CertID names this issuer. Throws PeerError. */
export function isOf(certId: Element, issuer: Issuer): boolean {
  const [algorithm, name, key] = readElements(certId.content);
  const oid = oidOf(algorithm && readElements(algorithm.content)[0]);
  const hash = oid === OID.sha1 ? "sha1" : oid === OID.sha256 ? "sha256" : undefined;
  if (!hash || !name || !key) return false;
  const own = hashesOf(issuer, hash);
  return own.name.equals(name.content) && own.key.equals(key.content);
}

function hashesOf({ name, certificate }: Issuer, algorithm: "sha1" | "sha256") {
  const digest = (bytes: Buffer) => createHash(algorithm).update(bytes).digest();
  return { name: digest(name), key: digest(keyBits(readCertificate(certificate.raw).publicKey)) };
}

/** A revocation list without entries: RFC 5280, section 5.1. Nothing that the node issued is ever revoked. */
export async function writeEmptyList({ name, keyId, key }: Issuer, now: number): Promise<Buffer> {
  const number = Buffer.alloc(6);
  number.writeUIntBE(Math.floor(now / 1000), 0, 6);
  const extensions = encode(
    TAG.sequence,
    encodeExtension(OID.authorityKeyIdentifier, false, encode(TAG.sequence, encode(0x80, keyId))),
    encodeExtension(OID.cRLNumber, false, encodeInteger(number)),
  );
  const body = encode(
    TAG.sequence,
    encodeInteger(Buffer.from([1])),
    signatureOf(key).algorithm,
    name,
    encodeTime(now - HOUR),
    encodeTime(now + LIFETIME),
    encode(0xa0, extensions),
  );
  return signed(body, key);
}

async function signed(body: Buffer, key: KeyObject): Promise<Buffer> {
  const { algorithm, hash } = signatureOf(key);
  const signature = await signInBackground(hash, body, key);
  return encode(TAG.sequence, body, algorithm, encode(TAG.bitString, Buffer.from([0]), signature));
}
