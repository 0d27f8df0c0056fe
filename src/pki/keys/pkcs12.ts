import { createPrivateKey, X509Certificate } from "node:crypto";
import { ConfigError, PeerError } from "../../errors.ts";
import { type Element, encode, malformed, oidOf, readElements, readInside, TAG } from "../x509/der.ts";
import { toPem } from "../x509/pem.ts";
import { checkMac, decryptUnderPassword, WRONG_PASSWORD } from "./password-encryption.ts";
import { privateKeyPem } from "./private-key.ts";

/** The contents of a PKCS#12 file in PEM. */
export interface Pkcs12 {
  /** The key's certificate first, then its issuers. */
  readonly certificatePem: string;
  /** Not encrypted. */
  readonly keyPem: string;
}

/** Object identifiers: RFC 7292, section 4 and RFC 2315. */
const DATA = "2a864886f70d010701";
const ENCRYPTED_DATA = "2a864886f70d010706";
const KEY_BAG = "2a864886f70d010c0a0101";
const SHROUDED_KEY_BAG = "2a864886f70d010c0a0102";
const CERTIFICATE_BAG = "2a864886f70d010c0a0103";
const SAFE_CONTENTS_BAG = "2a864886f70d010c0a0106";
const X509_CERTIFICATE = "2a864886f70d01091601";

const FOR_PUBLIC_KEY = "is encrypted for a public key, not with a passphrase";

const CONTEXT_0 = 0xa0;
const IMPLICIT_0 = 0x80;
/** Bags can contain bags. */
const MAX_DEPTH = 4;

/**
 * Reads a PKCS#12 file: RFC 7292. The message of a ConfigError is the end of a sentence about the file, and its path is
 * empty: the caller, who knows the file's place, adds both.
 */
export function readPkcs12(bytes: Buffer, password: string): Pkcs12 {
  try {
    const [version, authSafe, mac] = readInside(toDer(bytes), TAG.sequence, "PFX");
    if (version?.tag !== TAG.integer) throw malformed("version is not an INTEGER");
    if (authSafe?.tag !== TAG.sequence) throw malformed("authSafe is not a SEQUENCE");
    const { type, content } = contentInfo(authSafe);
    if (type !== DATA) throw unreadable(FOR_PUBLIC_KEY);
    const safe = octetString(content, "authSafe");
    if (mac && !checkMac(mac.content, safe, password)) throw unreadable(WRONG_PASSWORD);
    const found = readInside(toDer(safe), TAG.sequence, "AuthenticatedSafe").flatMap((info) => bagsOf(info, password));
    return pair(
      found.flatMap(({ key }) => (key ? [key] : [])),
      found.flatMap(({ certificate }) => (certificate ? [certificate] : [])),
    );
  } catch (error) {
    if (error instanceof PeerError) throw unreadable("is not PKCS#12", { cause: error });
    throw error;
  }
}

function unreadable(why: string, options?: ErrorOptions): ConfigError {
  return new ConfigError("", why, options);
}

interface Bag {
  /** DER: PKCS#8, not encrypted. */
  readonly key?: Buffer;
  readonly certificate?: Buffer;
}

function bagsOf(info: Element, password: string): Bag[] {
  const { type, content } = contentInfo(info);
  if (type === DATA) return readBags(octetString(content, "Data"), password, 0);
  if (type !== ENCRYPTED_DATA) throw unreadable(FOR_PUBLIC_KEY);
  const [, encrypted] = readInside(content, TAG.sequence, "EncryptedData");
  const [, algorithm, data] = readElements(encrypted?.content ?? Buffer.alloc(0));
  // [0] IMPLICIT OCTET STRING: RFC 2315, section 10.1. BER can split it into pieces.
  const pieces = data?.tag === CONTEXT_0 ? readElements(data.content) : data?.tag === IMPLICIT_0 ? [data] : [];
  if (!algorithm) throw malformed("contentEncryptionAlgorithm is missing");
  if (pieces.length === 0) throw malformed("encryptedContent is missing");
  const bytes = Buffer.concat(pieces.map((piece) => piece.content));
  return readBags(decryptUnderPassword(algorithm.whole, bytes, password), password, 0);
}

function readBags(safeContents: Buffer, password: string, depth: number): Bag[] {
  if (depth > MAX_DEPTH) throw malformed("bags are nested too deeply");
  return readInside(toDer(safeContents), TAG.sequence, "SafeContents").flatMap((bag): Bag[] => {
    const [id, wrapped] = readElements(bag.content);
    const value = wrapped?.tag === CONTEXT_0 ? wrapped.content : Buffer.alloc(0);
    switch (oidOf(id)) {
      case KEY_BAG:
        return [{ key: value }];
      case SHROUDED_KEY_BAG: {
        const [algorithm, data] = readInside(value, TAG.sequence, "EncryptedPrivateKeyInfo");
        if (!algorithm) throw malformed("encryptionAlgorithm is missing");
        if (data?.tag !== TAG.octetString) throw malformed("encryptedData is not an OCTET STRING");
        return [{ key: decryptUnderPassword(algorithm.whole, data.content, password) }];
      }
      case CERTIFICATE_BAG: {
        const [type, certificate] = readInside(value, TAG.sequence, "CertBag");
        if (oidOf(type) !== X509_CERTIFICATE || certificate?.tag !== CONTEXT_0) return [];
        return [{ certificate: octetString(certificate.content, "certValue") }];
      }
      case SAFE_CONTENTS_BAG:
        return readBags(value, password, depth + 1);
      default:
        return [];
    }
  });
}

function pair(keys: readonly Buffer[], certificates: readonly Buffer[]): Pkcs12 {
  const [der, ...more] = keys;
  if (!der) throw unreadable("has no private key");
  if (more.length > 0) throw unreadable(`has ${keys.length} private keys; give each in a file of its own`);
  const key = readKey(der);
  const chain = certificates.map(readCertificate);
  const leaf = chain.find((certificate) => certificate.checkPrivateKey(key));
  if (!leaf) throw unreadable("has no certificate for its private key");
  const ordered = [leaf];
  for (let next: X509Certificate | undefined = leaf; next; ) {
    const below: X509Certificate = next;
    next = chain.find((issuer) => !ordered.includes(issuer) && below.checkIssued(issuer));
    if (next) ordered.push(next);
  }
  return {
    certificatePem: ordered.map(({ raw }) => toPem(raw)).join(""),
    keyPem: privateKeyPem(key),
  };
}

function readKey(der: Buffer) {
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } catch (error) {
    throw unreadable("has a private key that cannot be read", { cause: error });
  }
}

function readCertificate(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw unreadable("has a certificate that cannot be read", { cause: error });
  }
}

function contentInfo(info: Element): { readonly type: string; readonly content: Buffer } {
  const [type, content] = readElements(info.content);
  if (type?.tag !== TAG.oid) throw malformed("contentType is not an OBJECT IDENTIFIER");
  if (content?.tag !== CONTEXT_0) throw malformed("content is missing");
  return { type: oidOf(type), content: content.content };
}

/** The contents of the one OCTET STRING in `bytes`. */
function octetString(bytes: Buffer, field: string): Buffer {
  const [element, ...more] = readElements(bytes);
  if (element?.tag !== TAG.octetString || more.length > 0) throw malformed(`${field} is not an OCTET STRING`);
  return element.content;
}

const CONSTRUCTED = 0x20;
const DEEPEST = 32;

/**
 * PKCS#12 can be BER, and NSS writes BER: indefinite lengths with an end-of-contents marker, and strings in pieces
 * (X.690, section 8). This converts it to DER, the only form that the other functions read.
 */
function toDer(bytes: Buffer): Buffer {
  const { element, rest } = convert(bytes, 0);
  if (!element || rest.length > 0) throw malformed("the file is not one element");
  return element;
}

/** The first element in DER, and the bytes that follow it. No element: the bytes begin with an end-of-contents marker. */
function convert(bytes: Buffer, depth: number): { readonly element: Buffer | undefined; readonly rest: Buffer } {
  const [tag, first] = bytes;
  if (depth > DEEPEST) throw malformed("elements are nested too deeply");
  if (tag === undefined || first === undefined) throw malformed("an element has no length");
  if (tag === 0 && first === 0) return { element: undefined, rest: bytes.subarray(2) };
  const indefinite = first === 0x80;
  const size = first > 0x80 ? first - 0x80 : 0;
  if (size > 4 || bytes.length < 2 + size) throw malformed("an element's length has too many bytes");
  const length = size > 0 ? bytes.readUIntBE(2, size) : first;
  const end = 2 + size + length;
  if (!indefinite && end > bytes.length) throw malformed("an element is longer than the one that contains it");
  if (!(tag & CONSTRUCTED)) {
    if (indefinite) throw malformed("a primitive element has an indefinite length");
    return { element: encode(tag, bytes.subarray(2 + size, end)), rest: bytes.subarray(end) };
  }
  const parts: Buffer[] = [];
  let inside = indefinite ? bytes.subarray(2) : bytes.subarray(2 + size, end);
  for (;;) {
    if (!indefinite && inside.length === 0) break;
    const { element, rest } = convert(inside, depth + 1);
    inside = rest;
    if (!element && !indefinite) throw malformed("an end-of-contents marker ends no indefinite length");
    if (!element) break;
    parts.push(element);
  }
  const isString = tag === (TAG.octetString | CONSTRUCTED);
  const element = isString
    ? encode(TAG.octetString, ...parts.map((part) => readElements(part)[0]!.content))
    : encode(tag, ...parts);
  return { element, rest: indefinite ? inside : bytes.subarray(end) };
}
