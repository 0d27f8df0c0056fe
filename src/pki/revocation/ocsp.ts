import { createHash, X509Certificate } from "node:crypto";
import { hasUnknownDemand, weaknesses } from "../verify/strictness.ts";
import { KEY_USAGE, keyBits, OID, readCertificate, readExtensions } from "../x509/certificate.ts";
import { type Element, encode, encodeOid, malformed, readElements, readInside, readTime, TAG } from "../x509/der.ts";
import { isSignedBy, readSigned, type Signed } from "../x509/signature.ts";
import { readValidity } from "../x509/validity.ts";
import { type Answer, believedUntil, nameReason, notBelieved } from "./revocation-answer.ts";

/**
 * The Online Certificate Status Protocol: RFC 6960, in the light form of RFC 5019. Our own reader, because its bytes come
 * from strangers and `der.ts` is strict already.
 */

/** SHA-1 names the issuer here because every responder knows it (RFC 5019, section 2.1.1): it protects nothing. */
const ASKED_WITH = "2b0e03021a";
const HASHES: ReadonlyMap<string, string> = new Map([
  [ASKED_WITH, "sha1"],
  ["608648016503040201", "sha256"],
  ["608648016503040202", "sha384"],
  ["608648016503040203", "sha512"],
]);

/** A certificate and whoever issued it. */
export interface Subject {
  readonly certificate: X509Certificate;
  readonly issuer: X509Certificate;
}

/** Writes an OCSPRequest for one certificate, without a nonce: a stapled answer has none, and one from a cache neither. */
export function writeOcspRequest({ certificate, issuer }: Subject): Buffer {
  const { subject, publicKey } = readCertificate(issuer.raw);
  const certId = encode(
    TAG.sequence,
    encode(TAG.sequence, encodeOid(ASKED_WITH), Buffer.from([5, 0])),
    encode(TAG.octetString, digest("sha1", subject)),
    encode(TAG.octetString, digest("sha1", keyBits(publicKey))),
    encode(TAG.integer, readCertificate(certificate.raw).serial),
  );
  const list = encode(TAG.sequence, encode(TAG.sequence, certId));
  return encode(TAG.sequence, encode(TAG.sequence, list));
}

/** A BasicOCSPResponse: RFC 6960, section 4.2.1. */
interface OcspResponse {
  readonly signed: Signed;
  /** The responder's name, a whole element, or the hash of its key. */
  readonly responder: { readonly name: Buffer } | { readonly keyHash: Buffer };
  /** DER, those that came along. */
  readonly certificates: readonly Buffer[];
  readonly answers: readonly SingleAnswer[];
}

interface SingleAnswer extends Omit<Answer, "until"> {
  /** The hash, by Node's name; undefined: none that is known here. */
  readonly hash: string | undefined;
  readonly issuerName: Buffer;
  readonly issuerKey: Buffer;
  readonly serial: Buffer;
}

/** What a responder says of the certificate, when it may say it and says it now. `now` in ms since the epoch. Throws PeerError. */
export async function judgeOcspResponse(bytes: Buffer, subject: Subject, now: number): Promise<Answer> {
  const response = readOcspResponse(bytes);
  const found = findAnswer(response, subject);
  if (!found) throw notBelieved("it is about another certificate");
  const { status, reason, thisUpdate, nextUpdate } = found;
  const until = believedUntil(thisUpdate, nextUpdate ?? undefined, now);
  if (!(await mayAnswer(response, subject.issuer, now))) throw notBelieved("a stranger has signed it");
  return { status, reason, thisUpdate, nextUpdate, until };
}

/** More answers than this are not looked at: about one was asked. */
const MOST_ANSWERS = 200;
const MOST_CERTIFICATES = 8;

/** Takes an OCSPResponse apart. Throws PeerError when it is not one, or says that there is no answer. */
export function readOcspResponse(bytes: Buffer): OcspResponse {
  const [status, wrapped] = readInside(bytes, TAG.sequence);
  if (status?.tag !== TAG.enumerated) throw malformed("it has no status");
  const code = status.content[0] ?? -1;
  if (status.content.length !== 1 || code !== 0) throw notBelieved(`the responder has none: ${REFUSALS[code] ?? code}`);
  if (wrapped?.tag !== 0xa0) throw malformed("it holds no answer");
  const [type, basic] = readInside(wrapped.content, TAG.sequence);
  if (type?.content.toString("hex") !== OID.ocspBasic || basic?.tag !== TAG.octetString) {
    throw malformed("it is of an unknown type");
  }
  const parts = readInside(basic.content, TAG.sequence);
  const signed = readSigned(parts);
  const certificates = parts[3]?.tag === 0xa0 ? readInside(parts[3].content, TAG.sequence) : [];
  return {
    signed,
    ...readBody(signed.body.content),
    certificates: certificates.slice(0, MOST_CERTIFICATES).map(({ whole }) => whole),
  };
}

/** OCSPResponseStatus: RFC 6960, section 4.2.1. */
const REFUSALS: readonly (string | undefined)[] = [
  undefined,
  "malformedRequest",
  "internalError",
  "tryLater",
  undefined,
  "sigRequired",
  "unauthorized",
];

function readBody(body: Buffer): Pick<OcspResponse, "responder" | "answers"> {
  const fields = readElements(body);
  // version [0] is there only when it is not 1.
  if (fields[0]?.tag === 0xa0) throw malformed("it is of an unknown version");
  const [responder, producedAt, responses, extensions] = fields;
  if (!responder || producedAt?.tag !== TAG.generalizedTime || responses?.tag !== TAG.sequence) {
    throw malformed("its body is not one");
  }
  if (extensions && extensions.tag !== 0xa1) throw malformed("its body is not one");
  if (extensions) refuseDemands(extensions.content);
  const answers = readElements(responses.content).slice(0, MOST_ANSWERS);
  return { responder: readResponder(responder), answers: answers.map(readSingle) };
}

function readResponder({ tag, content }: Element): OcspResponse["responder"] {
  const [id, ...more] = readElements(content);
  if (tag === 0xa1 && id?.tag === TAG.sequence && more.length === 0) return { name: id.whole };
  if (tag === 0xa2 && id?.tag === TAG.octetString && more.length === 0) return { keyHash: id.content };
  throw malformed("its responder has no name");
}

/** Nobody here understands a critical one. */
function refuseDemands(extensions: Buffer): void {
  for (const [oid, { critical }] of readExtensions(extensions)) {
    if (critical) throw notBelieved(`its extension ${oid} must be understood, and is not`);
  }
}

const STATUSES: ReadonlyMap<number, Answer["status"]> = new Map([
  [0x80, "good"],
  [0xa1, "revoked"],
  [0x82, "unknown"],
]);

function readSingle({ tag, content }: Element): SingleAnswer {
  const [certId, told, thisUpdate, ...rest] = readElements(content);
  const [algorithm, issuerName, issuerKey, serial] = certId ? readElements(certId.content) : [];
  const status = STATUSES.get(told?.tag ?? 0);
  if (tag !== TAG.sequence || !algorithm || !issuerName || !issuerKey || !serial || !told || !status || !thisUpdate) {
    throw malformed("an answer in it is not one");
  }
  const next = rest.find((element) => element.tag === 0xa0);
  const extensions = rest.find((element) => element.tag === 0xa1);
  if (extensions) refuseDemands(extensions.content);
  return {
    hash: HASHES.get(readElements(algorithm.content)[0]?.content.toString("hex") ?? ""),
    issuerName: issuerName.content,
    issuerKey: issuerKey.content,
    serial: serial.content,
    status,
    reason: status === "revoked" ? readReason(told.content) : null,
    thisUpdate: readTime(thisUpdate),
    nextUpdate: next ? readWrappedTime(next.content) : null,
  };
}

function readWrappedTime(bytes: Buffer): number {
  const [time] = readElements(bytes);
  if (!time) throw malformed("a time is not one");
  return readTime(time);
}

/** RevokedInfo: the time, and perhaps the reason. */
function readReason(content: Buffer): string | null {
  const reason = readElements(content).find(({ tag }) => tag === 0xa0);
  const code = reason && readElements(reason.content)[0];
  return code?.tag === TAG.enumerated ? nameReason(code.content) : null;
}

/** That which is about this very certificate: its issuer's name and key, and its serial number. */
function findAnswer({ answers }: OcspResponse, { certificate, issuer }: Subject): SingleAnswer | undefined {
  const { serial } = readCertificate(certificate.raw);
  const { subject, publicKey } = readCertificate(issuer.raw);
  return answers.find(
    ({ hash, ...answer }) =>
      answer.serial.equals(serial) &&
      hash !== undefined &&
      answer.issuerName.equals(digest(hash, subject)) &&
      answer.issuerKey.equals(digest(hash, keyBits(publicKey))),
  );
}

/** RFC 6960, section 4.2.2.2: the issuer may answer itself, or whom it has given a certificate for it. */
async function mayAnswer({ signed, responder, certificates }: OcspResponse, issuer: X509Certificate, now: number) {
  if (isCalled(issuer, responder) && (await isSignedBy(signed, issuer.publicKey))) return true;
  for (const der of certificates) {
    const delegate = readDelegate(der);
    if (!delegate || !isCalled(delegate, responder) || !isDelegate(delegate, issuer, now)) continue;
    if (await isSignedBy(signed, delegate.publicKey)) return true;
  }
  return false;
}

function isCalled({ raw }: X509Certificate, responder: OcspResponse["responder"]): boolean {
  const { subject, publicKey } = readCertificate(raw);
  return "name" in responder
    ? responder.name.equals(subject)
    : responder.keyHash.equals(digest("sha1", keyBits(publicKey)));
}

function readDelegate(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

/**
 * The same issuer has signed it, for this purpose, and it is valid now. Whether it was revoked in its turn is not asked,
 * whether or not it has id-pkix-ocsp-nocheck (section 4.2.2.2.1): browsers and OpenSSL do not either.
 */
function isDelegate(delegate: X509Certificate, issuer: X509Certificate, now: number): boolean {
  const parts = readCertificate(delegate.raw);
  const purposes = parts.extensions.get(OID.extendedKeyUsage)?.value;
  const usage = parts.extensions.get(OID.keyUsage)?.value;
  if (!purposes || hasUnknownDemand(parts)) return false;
  if (usage && ((usage[3] ?? 0) & KEY_USAGE.digitalSignature) === 0) return false;
  const isFor = readInside(purposes, TAG.sequence).some(({ content }) => content.toString("hex") === OID.ocspSigning);
  const { notBefore, notAfter } = readValidity(delegate);
  const isNow = notBefore <= now && notAfter >= now;
  if (!isFor || !isNow || !delegate.checkIssued(issuer)) return false;
  if (weaknesses({ path: [delegate, issuer], anchored: true }).length > 0) return false;
  try {
    return delegate.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

function digest(hash: string, bytes: Buffer): Buffer {
  return createHash(hash).update(bytes).digest();
}
