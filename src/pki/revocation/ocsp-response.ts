import { readExtensions } from "../x509/certificate.ts";
import { type Element, malformed, oidOf, readElements, readInside, readTime, TAG } from "../x509/der.ts";
import { dottedOid, OID } from "../x509/oid.ts";
import { readSigned, type Signed } from "../x509/signature.ts";
import { type Answer, nameReason, unusable } from "./revocation-answer.ts";

/** Reads OCSP responses. No library does this: they come from unauthenticated servers and need the strict reader of der.ts. */

/** A BasicOCSPResponse: RFC 6960, section 4.2.1. */
export interface OcspResponse {
  readonly signed: Signed;
  /** The responder's name, a whole element, or the hash of its key. */
  readonly responder: { readonly name: Buffer } | { readonly keyHash: Buffer };
  /** The certificates in the response, DER. */
  readonly certificates: readonly Buffer[];
  readonly responses: readonly SingleResponse[];
}

export interface SingleResponse extends Omit<Answer, "until"> {
  /** Node's name; undefined: the hash is not supported. */
  readonly hash: string | undefined;
  readonly issuerName: Buffer;
  readonly issuerKey: Buffer;
  readonly serial: Buffer;
}

/** The algorithms of a CertID. */
const HASHES: ReadonlyMap<string, string> = new Map<string, string>([
  [OID.sha1, "sha1"],
  [OID.sha256, "sha256"],
  [OID.sha384, "sha384"],
  [OID.sha512, "sha512"],
]);

/** The request was for one certificate, so a response with more than these is not read to its end. */
const MAX_RESPONSES = 200;
const MAX_CERTIFICATES = 8;

/** Reads an OCSPResponse. Throws PeerError when it is malformed or has an error status. */
export function readOcspResponse(bytes: Buffer): OcspResponse {
  const [status, wrapped] = readInside(bytes, TAG.sequence, "OCSPResponse");
  if (status?.tag !== TAG.enumerated || status.content.length !== 1) {
    throw malformed("responseStatus is not an ENUMERATED of one byte");
  }
  const code = status.content[0]!;
  if (code !== 0) throw unusable(`responseStatus is ${RESPONSE_STATUSES[code] ?? code}`);
  if (wrapped?.tag !== 0xa0) throw malformed("responseBytes is missing");
  const [type, basic] = readInside(wrapped.content, TAG.sequence, "responseBytes");
  if (oidOf(type) !== OID.ocspBasic) throw malformed("responseType is not id-pkix-ocsp-basic");
  if (basic?.tag !== TAG.octetString) throw malformed("response is not an OCTET STRING");
  const parts = readInside(basic.content, TAG.sequence, "BasicOCSPResponse");
  const signed = readSigned(parts, "tbsResponseData");
  const certificates = parts[3]?.tag === 0xa0 ? readInside(parts[3].content, TAG.sequence, "certs") : [];
  return {
    signed,
    ...readResponseData(signed.body.content),
    certificates: certificates.slice(0, MAX_CERTIFICATES).map(({ whole }) => whole),
  };
}

/** OCSPResponseStatus: RFC 6960, section 4.2.1. */
const RESPONSE_STATUSES: readonly (string | undefined)[] = [
  "successful",
  "malformedRequest",
  "internalError",
  "tryLater",
  undefined,
  "sigRequired",
  "unauthorized",
];

function readResponseData(data: Buffer): Pick<OcspResponse, "responder" | "responses"> {
  const fields = readElements(data);
  // version [0] is absent from version 1.
  if (fields[0]?.tag === 0xa0) throw malformed("version of tbsResponseData is not 1");
  const [responderId, producedAt, responses, extensions] = fields;
  if (!responderId) throw malformed("responderID is missing");
  if (producedAt?.tag !== TAG.generalizedTime) throw malformed("producedAt is not a GeneralizedTime");
  if (responses?.tag !== TAG.sequence) throw malformed("responses is not a SEQUENCE");
  if (extensions && extensions.tag !== 0xa1) throw malformed("tbsResponseData has an unexpected field");
  if (extensions) refuseCritical(extensions.content);
  const singles = readElements(responses.content).slice(0, MAX_RESPONSES);
  return { responder: readResponder(responderId), responses: singles.map(readSingleResponse) };
}

function readResponder({ tag, content }: Element): OcspResponse["responder"] {
  const [id, ...more] = readElements(content);
  if (tag === 0xa1 && id?.tag === TAG.sequence && more.length === 0) return { name: id.whole };
  if (tag === 0xa2 && id?.tag === TAG.octetString && more.length === 0) return { keyHash: id.content };
  throw malformed("responderID is neither byName nor byKey");
}

/** None of the extensions of a response is supported. */
function refuseCritical(extensions: Buffer): void {
  for (const [oid, { critical }] of readExtensions(extensions)) {
    if (critical) throw unusable(`it has the critical extension ${dottedOid(oid)}, which is not supported`);
  }
}

const STATUSES: ReadonlyMap<number, Answer["status"]> = new Map([
  [0x80, "good"],
  [0xa1, "revoked"],
  [0x82, "unknown"],
]);

function readSingleResponse({ tag, content }: Element, index: number): SingleResponse {
  const name = `response ${index + 1}`;
  if (tag !== TAG.sequence) throw malformed(`${name} is not a SEQUENCE`);
  const [certId, certStatus, thisUpdate, ...rest] = readElements(content);
  const [algorithm, issuerName, issuerKey, serial] = certId ? readElements(certId.content) : [];
  if (!algorithm || !issuerName || !issuerKey || !serial) {
    throw malformed(`certID of ${name} has fewer than four fields`);
  }
  const status = STATUSES.get(certStatus?.tag ?? 0);
  if (!certStatus || !status) throw malformed(`certStatus of ${name} is neither good, revoked nor unknown`);
  const nextUpdate = rest.find((element) => element.tag === 0xa0);
  const extensions = rest.find((element) => element.tag === 0xa1);
  if (extensions) refuseCritical(extensions.content);
  return {
    hash: HASHES.get(oidOf(readElements(algorithm.content)[0])),
    issuerName: issuerName.content,
    issuerKey: issuerKey.content,
    serial: serial.content,
    status,
    reason: status === "revoked" ? readReason(certStatus.content) : null,
    thisUpdate: readTime(thisUpdate, "thisUpdate"),
    nextUpdate: nextUpdate ? readTime(readElements(nextUpdate.content)[0], "nextUpdate") : null,
  };
}

/** RevokedInfo: the time and an optional reason. */
function readReason(content: Buffer): string | null {
  const reason = readElements(content).find(({ tag }) => tag === 0xa0);
  const code = reason && readElements(reason.content)[0];
  return code?.tag === TAG.enumerated ? nameReason(code.content) : null;
}
