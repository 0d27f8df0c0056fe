import { createHash, createPrivateKey, type KeyObject, sign, X509Certificate } from "node:crypto";
import { readCertificate } from "../x509/certificate.ts";
import { encodeExtension, signatureOf } from "../x509/certificate-writing.ts";
import { encode, encodeInteger, encodeOid, encodeTime, TAG } from "../x509/der.ts";
import { keyBits } from "../x509/public-key.ts";

/** For tests: answers and lists that no program would write, with any times, signers and extensions. */
export interface Signer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

export function signerOf({ pem, keyPem }: { readonly pem: string; readonly keyPem: string }): Signer {
  return { certificate: new X509Certificate(pem), key: createPrivateKey(keyPem) };
}

export interface WantedAnswer {
  readonly certificate: X509Certificate;
  /** Whose name and key stand in the answer. */
  readonly issuer: X509Certificate;
  readonly signer: Signer;
  readonly status?: "good" | "revoked" | "unknown";
  /** CRLReason. */
  readonly reason?: number;
  /** ms since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate?: number;
  readonly hash?: "sha1" | "sha256";
  /** The responder is named by its key. */
  readonly byKey?: boolean;
  /** DER, sent along. */
  readonly certificates?: readonly Buffer[];
  /** Object identifiers of critical extensions, as hex. */
  readonly critical?: readonly string[];
}

const HASH_OIDS = { sha1: "2b0e03021a", sha256: "608648016503040201" } as const;
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
    encode(TAG.sequence, encodeOid(HASH_OIDS[hash]), Buffer.from([5, 0])),
    encode(TAG.octetString, digest(hash, subject)),
    encode(TAG.octetString, digest(hash, keyBits(publicKey))),
    encode(TAG.integer, readCertificate(certificate.raw).serial),
  );
  const why = reason === undefined ? [] : [encode(0xa0, encode(TAG.enumerated, Buffer.from([reason])))];
  const told = { good: encode(0x80), revoked: encode(0xa1, time(thisUpdate), ...why), unknown: encode(0x82) }[status];
  const next = nextUpdate === undefined ? [] : [encode(0xa0, time(nextUpdate))];
  const answer = encode(TAG.sequence, certId, told, time(thisUpdate), ...next);
  const own = readCertificate(signer.certificate.raw);
  const responder = wanted.byKey
    ? encode(0xa2, encode(TAG.octetString, digest("sha1", keyBits(own.publicKey))))
    : encode(0xa1, own.subject);
  const extensions = (wanted.critical ?? []).map((oid) => encodeExtension(oid, true, Buffer.from([5, 0])));
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
  const type = encodeOid("2b0601050507300101");
  return encode(
    TAG.sequence,
    encode(TAG.enumerated, Buffer.from([0])),
    encode(0xa0, encode(TAG.sequence, type, encode(TAG.octetString, basic))),
  );
}

export interface WantedList {
  readonly signer: Signer;
  /** The serial numbers' bytes. */
  readonly serials: readonly Buffer[];
  readonly thisUpdate: number;
  readonly nextUpdate?: number;
  /** Whole Extensions: of the list, and of each entry. */
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
