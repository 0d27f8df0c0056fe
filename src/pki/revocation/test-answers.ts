import { createHash, createPrivateKey, type KeyObject, sign, X509Certificate } from "node:crypto";
import { readCertificate } from "../x509/certificate.ts";
import { encodeExtension, signatureOf } from "../x509/certificate-writing.ts";
import { encode, encodeInteger, encodeNull, encodeOid, encodeTime, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { keyBits } from "../x509/public-key.ts";

/** For tests: OCSP responses and revocation lists with any times, signers and extensions. */
export interface Signer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

export function signerOf({ pem, keyPem }: { readonly pem: string; readonly keyPem: string }): Signer {
  return { certificate: new X509Certificate(pem), key: createPrivateKey(keyPem) };
}

export interface WantedAnswer {
  readonly certificate: X509Certificate;
  /** The issuer in CertID. */
  readonly issuer: X509Certificate;
  readonly signer: Signer;
  readonly status?: "good" | "revoked" | "unknown";
  /** CRLReason. */
  readonly reason?: number;
  /** ms since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate?: number;
  readonly hash?: "sha1" | "sha256";
  /** Whether responderID is byKey. */
  readonly byKey?: boolean;
  /** The certificates in the response, DER. */
  readonly certificates?: readonly Buffer[];
  /** Object identifiers of critical extensions, in the form of OID. */
  readonly critical?: readonly string[];
}

const digest = (hash: string, bytes: Buffer) => createHash(hash).update(bytes).digest();
const time = (ms: number) => {
  const digits = new Date(ms).toISOString().slice(0, 19).replace(/\D/g, "");
  return encode(TAG.generalizedTime, Buffer.from(`${digits}Z`));
};

/** An OCSPResponse: RFC 6960, section 4.2.1. */
export function writeOcspResponse(wanted: WantedAnswer): Buffer {
  const { certificate, issuer, signer, status = "good", reason, thisUpdate, nextUpdate, hash = "sha1" } = wanted;
  const { subject, publicKey } = readCertificate(issuer.raw);
  const certId = encode(
    TAG.sequence,
    encode(TAG.sequence, encodeOid(OID[hash]), encodeNull()),
    encode(TAG.octetString, digest(hash, subject)),
    encode(TAG.octetString, digest(hash, keyBits(publicKey))),
    encode(TAG.integer, readCertificate(certificate.raw).serial),
  );
  const why = reason === undefined ? [] : [encode(0xa0, encode(TAG.enumerated, Buffer.from([reason])))];
  const certStatus = { good: encode(0x80), revoked: encode(0xa1, time(thisUpdate), ...why), unknown: encode(0x82) }[
    status
  ];
  const next = nextUpdate === undefined ? [] : [encode(0xa0, time(nextUpdate))];
  const answer = encode(TAG.sequence, certId, certStatus, time(thisUpdate), ...next);
  const own = readCertificate(signer.certificate.raw);
  const responder = wanted.byKey
    ? encode(0xa2, encode(TAG.octetString, digest("sha1", keyBits(own.publicKey))))
    : encode(0xa1, own.subject);
  const extensions = (wanted.critical ?? []).map((oid) => encodeExtension(oid, true, encodeNull()));
  const body = encode(
    TAG.sequence,
    responder,
    time(thisUpdate),
    encode(TAG.sequence, answer),
    ...(extensions.length > 0 ? [encode(0xa1, encode(TAG.sequence, ...extensions))] : []),
  );
  const certificates =
    (wanted.certificates ?? []).length > 0 ? [encode(0xa0, encode(TAG.sequence, ...wanted.certificates!))] : [];
  const basic = signed(body, signer, certificates);
  const type = encodeOid(OID.ocspBasic);
  return encode(
    TAG.sequence,
    encode(TAG.enumerated, Buffer.from([0])),
    encode(0xa0, encode(TAG.sequence, type, encode(TAG.octetString, basic))),
  );
}

export interface WantedList {
  readonly signer: Signer;
  /** The serial numbers, without a leading zero. */
  readonly serials: readonly Buffer[];
  readonly thisUpdate: number;
  readonly nextUpdate?: number;
  /** The extensions of the list, and those of each entry, whole elements. */
  readonly extensions?: readonly Buffer[];
  readonly entryExtensions?: readonly Buffer[];
}

/** A CertificateList: RFC 5280, section 5.1. */
export function writeCrl({
  signer,
  serials,
  thisUpdate,
  nextUpdate,
  extensions = [],
  entryExtensions = [],
}: WantedList) {
  const { subject } = readCertificate(signer.certificate.raw);
  const date = encodeTime(thisUpdate);
  const more = entryExtensions.length > 0 ? [encode(TAG.sequence, ...entryExtensions)] : [];
  const entries = serials.map((serial) => encode(TAG.sequence, encodeInteger(serial), date, ...more));
  const body = encode(
    TAG.sequence,
    encodeInteger(Buffer.from([1])),
    signatureOf(signer.key).algorithm,
    subject,
    date,
    ...(nextUpdate === undefined ? [] : [encodeTime(nextUpdate)]),
    ...(entries.length > 0 ? [encode(TAG.sequence, Buffer.concat(entries))] : []),
    ...(extensions.length > 0 ? [encode(0xa0, encode(TAG.sequence, ...extensions))] : []),
  );
  return signed(body, signer, []);
}

function signed(body: Buffer, { key }: Signer, more: readonly Buffer[]): Buffer {
  const { algorithm, hash } = signatureOf(key);
  const signature = encode(TAG.bitString, Buffer.from([0]), sign(hash, body, key));
  return encode(TAG.sequence, body, algorithm, signature, ...more);
}
