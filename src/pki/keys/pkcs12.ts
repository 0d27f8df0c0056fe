import { createPrivateKey, X509Certificate } from "node:crypto";
import { ConfigError, PeerError } from "../../errors.ts";
import { toPem } from "../x509/certificate.ts";
import { type Element, encode, malformed, readElements, readInside, TAG } from "../x509/der.ts";
import { checkMac, decryptUnderPassword, WRONG_PASSWORD } from "./password-encryption.ts";

/** What a PKCS#12 file holds: PEM, the key not encrypted, the certificates with the key's own first. */
export interface Pkcs12 {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Object identifiers of RFC 7292, section 4 and RFC 2315, as hex. */
const DATA = "2a864886f70d010701";
const ENCRYPTED_DATA = "2a864886f70d010706";
const KEY_BAG = "2a864886f70d010c0a0101";
const SHROUDED_KEY_BAG = "2a864886f70d010c0a0102";
const CERTIFICATE_BAG = "2a864886f70d010c0a0103";
const SAFE_CONTENTS_BAG = "2a864886f70d010c0a0106";
const X509_CERTIFICATE = "2a864886f70d01091601";

const CONTEXT_0 = 0xa0;
const IMPLICIT_0 = 0x80;
/** Bags may hold bags. */
const MAX_DEPTH = 4;

/**
 * Opens a PKCS#12 file (RFC 7292). Throws ConfigError, whose message ends a sentence about the file; the path is
 * the caller's to add.
 */
export function readPkcs12(bytes: Buffer, password: string): Pkcs12 {
  try {
    const [version, authSafe, mac] = readInside(toDer(bytes), TAG.sequence);
    if (version?.tag !== TAG.integer || authSafe?.tag !== TAG.sequence) throw unreadable("is not PKCS#12");
    const { type, content } = contentInfo(authSafe);
    if (type !== DATA) throw unreadable("is sealed for a public key, not under a passphrase");
    const safe = only(content).content;
    if (mac && !checkMac(mac.content, safe, password)) throw unreadable(WRONG_PASSWORD);
    const found = readInside(toDer(safe), TAG.sequence).flatMap((info) => bagsOf(info, password));
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
  if (type === DATA) return readBags(only(content).content, password, 0);
  if (type !== ENCRYPTED_DATA) throw unreadable("is sealed for a public key, not under a passphrase");
  const [, encrypted] = readInside(content, TAG.sequence);
  const [, algorithm, data] = readElements(encrypted?.content ?? Buffer.alloc(0));
  // [0] IMPLICIT OCTET STRING: RFC 2315, section 10.1. In BER it may be in pieces.
  const pieces = data?.tag === CONTEXT_0 ? readElements(data.content) : data?.tag === IMPLICIT_0 ? [data] : [];
  if (!algorithm || pieces.length === 0) throw malformed("encrypted data without its algorithm or its bytes");
  const bytes = Buffer.concat(pieces.map((piece) => piece.content));
  return readBags(decryptUnderPassword(algorithm.whole, bytes, password), password, 0);
}

function readBags(safeContents: Buffer, password: string, depth: number): Bag[] {
  if (depth > MAX_DEPTH) throw malformed("bags in bags in bags");
  return readInside(toDer(safeContents), TAG.sequence).flatMap((bag): Bag[] => {
    const [id, wrapped] = readElements(bag.content);
    const value = wrapped?.tag === CONTEXT_0 ? wrapped.content : Buffer.alloc(0);
    switch (id?.content.toString("hex")) {
      case KEY_BAG:
        return [{ key: value }];
      case SHROUDED_KEY_BAG: {
        const [algorithm, data] = readInside(value, TAG.sequence);
        if (!algorithm || data?.tag !== TAG.octetString) throw malformed("a key without its algorithm or its bytes");
        return [{ key: decryptUnderPassword(algorithm.whole, data.content, password) }];
      }
      case CERTIFICATE_BAG: {
        const [type, certificate] = readInside(value, TAG.sequence);
        if (type?.content.toString("hex") !== X509_CERTIFICATE || certificate?.tag !== CONTEXT_0) return [];
        return [{ certificate: only(certificate.content).content }];
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
  if (!der) throw unreadable("holds no private key");
  if (more.length > 0) throw unreadable(`holds ${keys.length} private keys; give each in a file of its own`);
  const key = readKey(der);
  const chain = certificates.map(readCertificate);
  const leaf = chain.find((certificate) => certificate.checkPrivateKey(key));
  if (!leaf) throw unreadable("holds no certificate of its private key");
  const ordered = [leaf];
  for (let next: X509Certificate | undefined = leaf; next; ) {
    const below: X509Certificate = next;
    next = chain.find((issuer) => !ordered.includes(issuer) && below.checkIssued(issuer));
    if (next) ordered.push(next);
  }
  return {
    certificatePem: ordered.map(({ raw }) => toPem(raw)).join(""),
    keyPem: key.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

function readKey(der: Buffer) {
  try {
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } catch (error) {
    throw unreadable("holds a private key that cannot be read", { cause: error });
  }
}

function readCertificate(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw unreadable("holds a certificate that cannot be read", { cause: error });
  }
}

function contentInfo(info: Element): { readonly type: string; readonly content: Buffer } {
  const [type, content] = readElements(info.content);
  if (type?.tag !== TAG.oid || content?.tag !== CONTEXT_0) throw malformed("a part without its type or its content");
  return { type: type.content.toString("hex"), content: content.content };
}

function only(bytes: Buffer): Element {
  const [element, ...more] = readElements(bytes);
  if (element?.tag !== TAG.octetString || more.length > 0) throw malformed("not one OCTET STRING");
  return element;
}

const CONSTRUCTED = 0x20;
const DEEPEST = 32;

/**
 * PKCS#12 may be BER, and NSS writes it so: lengths that an end mark tells, strings in pieces (X.690, section 8).
 * All that follows reads DER only.
 */
function toDer(bytes: Buffer): Buffer {
  const { element, rest } = convert(bytes, 0);
  if (!element || rest.length > 0) throw malformed("not one element");
  return element;
}

/** The first element, in DER, and what follows it; no element: an end mark. */
function convert(bytes: Buffer, depth: number): { readonly element: Buffer | undefined; readonly rest: Buffer } {
  const [tag, first] = bytes;
  if (depth > DEEPEST) throw malformed("nested too deeply");
  if (tag === undefined || first === undefined) throw malformed("an element ends before its length");
  if (tag === 0 && first === 0) return { element: undefined, rest: bytes.subarray(2) };
  const indefinite = first === 0x80;
  const size = first > 0x80 ? first - 0x80 : 0;
  if (size > 4 || bytes.length < 2 + size) throw malformed("a length is too large");
  const length = size > 0 ? bytes.readUIntBE(2, size) : first;
  const end = 2 + size + length;
  if (!indefinite && end > bytes.length) throw malformed("an element is longer than what holds it");
  if (!(tag & CONSTRUCTED)) {
    if (indefinite) throw malformed("a plain element without a length");
    return { element: encode(tag, bytes.subarray(2 + size, end)), rest: bytes.subarray(end) };
  }
  const parts: Buffer[] = [];
  let inside = indefinite ? bytes.subarray(2) : bytes.subarray(2 + size, end);
  for (;;) {
    if (!indefinite && inside.length === 0) break;
    const { element, rest } = convert(inside, depth + 1);
    inside = rest;
    if (!element && !indefinite) throw malformed("an end mark where no length is open");
    if (!element) break;
    parts.push(element);
  }
  const isString = tag === (TAG.octetString | CONSTRUCTED);
  const element = isString
    ? encode(TAG.octetString, ...parts.map((part) => readElements(part)[0]!.content))
    : encode(tag, ...parts);
  return { element, rest: indefinite ? inside : bytes.subarray(end) };
}
