import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  pbkdf2Sync,
  randomBytes,
  scryptSync,
  timingSafeEqual,
} from "node:crypto";
import { ConfigError } from "../../errors.ts";
import { type Element, encode, encodeInteger, encodeOid, readElements, TAG } from "../x509/der.ts";

/**
 * Encryption under a password, as PKCS#8 and PKCS#12 files have it: PBES2 (RFC 8018, section 6.2) and the older schemes
 * of PKCS#12 (RFC 7292, appendix C). AlgorithmIdentifiers are whole DER elements. What cannot be read is a ConfigError whose
 * message ends a sentence about the file; who knows where the file is named says the rest.
 */

/** Derives a key from a password; whoever opens many things under one password keeps what was derived. */
export type Derive = (hash: string, salt: Buffer, iterations: number, length: number) => Buffer;

export function deriveFrom(password: string): Derive {
  return (hash, salt, iterations, length) => pbkdf2Sync(password, salt, iterations, length, hash);
}

/** Above this a file is hostile, or meant to keep a machine busy for minutes. */
const MAX_ITERATIONS = 2_000_000;
const MAX_SCRYPT_MEMORY = 256 * 2 ** 20;

const OIDS = {
  pbes2: "2a864886f70d01050d",
  pbkdf2: "2a864886f70d01050c",
  scrypt: "2b06010401da47040b",
  pbmac1: "2a864886f70d01050e",
  hmacSha256: "2a864886f70d0209",
  aes256: "60864801650304012a",
} as const;

const CIPHERS: Readonly<Record<string, readonly [name: string, key: number]>> = {
  "608648016503040102": ["aes-128-cbc", 16],
  "608648016503040116": ["aes-192-cbc", 24],
  "60864801650304012a": ["aes-256-cbc", 32],
  "2a864886f70d0307": ["des-ede3-cbc", 24],
};

const PSEUDORANDOM: Readonly<Record<string, string>> = {
  "2a864886f70d0207": "sha1",
  "2a864886f70d0208": "sha224",
  "2a864886f70d0209": "sha256",
  "2a864886f70d020a": "sha384",
  "2a864886f70d020b": "sha512",
};

const HASHES: Readonly<Record<string, string>> = {
  "2b0e03021a": "sha1",
  "608648016503040204": "sha224",
  "608648016503040201": "sha256",
  "608648016503040202": "sha384",
  "608648016503040203": "sha512",
};

/** RFC 7292, appendix C: of these OpenSSL still has triple DES; RC2 and RC4 are gone. */
const PKCS12_TRIPLE_DES = "2a864886f70d010c0103";
/** A key that a forger made short could be guessed, and one longer than a hash's 64 bytes is none that anybody writes. */
function readLength(element: Element | undefined): number {
  const length = element?.tag === TAG.integer ? readCount(element.content) : 0;
  return length >= 20 && length <= 64 ? length : unreadable(NOT_ONE);
}

const OUTDATED =
  "is encrypted with RC2, RC4 or two-key DES, which OpenSSL no longer has; openssl pkcs12 -legacy -nodes makes PEM of it";
const PKCS12_SCHEMES = /^2a864886f70d010c010[1-6]$/;

/**
 * Decrypts what `algorithm` says how. Throws ConfigError, also when the padding shows that the password is wrong (it
 * nearly always does), and PeerError for what is not DER.
 */
export function decryptUnderPassword(algorithm: Buffer, data: Buffer, password: string, derive?: Derive): Buffer {
  const { oid, parameters } = readAlgorithm(algorithm);
  if (oid === OIDS.pbes2) {
    const [kdf, scheme] = readElements(parameters);
    const { oid: cipherOid, inner: iv } = readAlgorithm(need(scheme?.whole));
    const [cipher, length] = CIPHERS[cipherOid] ?? unreadable("is encrypted with a cipher that the node does not have");
    const key = derivePbes2(need(kdf?.whole), length, password, derive);
    return decipher(cipher, key, iv, data);
  }
  if (oid === PKCS12_TRIPLE_DES) {
    const [salt, iterations] = readElements(parameters);
    const count = readCount(iterations?.content);
    const make = (purpose: number, length: number) =>
      derivePkcs12("sha1", purpose, password, need(salt?.content), count, length);
    return decipher("des-ede3-cbc", make(1, 24), make(2, 8), data);
  }
  if (PKCS12_SCHEMES.test(oid)) unreadable(OUTDATED);
  return unreadable("is encrypted in a way that the node does not know");
}

/** `length` undefined: the one that stands in PBKDF2's parameters, as RFC 9579, section 4 wants it. */
function derivePbes2(
  kdf: Buffer,
  length: number | undefined,
  password: string,
  derive: Derive = deriveFrom(password),
): Buffer {
  const { oid, parameters } = readAlgorithm(kdf);
  const [salt, ...rest] = readElements(parameters);
  if (oid === OIDS.pbkdf2) {
    const prf = rest.find(({ tag }) => tag === TAG.sequence);
    const hash = prf ? PSEUDORANDOM[readAlgorithm(prf.whole).oid] : "sha1";
    if (hash === undefined) return unreadable("derives its key with a hash that the node does not have");
    return derive(hash, need(salt?.content), readCount(rest[0]?.content), length ?? readLength(rest[1]));
  }
  if (oid === OIDS.scrypt) {
    const [cost, blockSize, parallelization] = rest.slice(0, 3).map(({ content }) => readCount(content));
    const options = { N: need(cost), r: need(blockSize), p: need(parallelization), maxmem: MAX_SCRYPT_MEMORY };
    try {
      return scryptSync(password, need(salt?.content), length ?? readLength(undefined), options);
    } catch {
      return unreadable("derives its key with parameters of scrypt that cannot be, or are too costly");
    }
  }
  return unreadable("derives its key in a way that the node does not know");
}

/** Whether `data` is what the password's holder wrote: RFC 7292, section 4 and RFC 9579. `mac`: MacData's contents. */
export function checkMac(mac: Buffer, data: Buffer, password: string): boolean {
  const [digestInfo, salt, iterations] = readElements(mac);
  const [algorithm, expected] = readElements(need(digestInfo?.content));
  const { oid, parameters } = readAlgorithm(need(algorithm?.whole));
  const digest = need(expected?.content);
  let actual: Buffer;
  if (oid === OIDS.pbmac1) {
    const [kdf, scheme] = readElements(parameters);
    const hash = PSEUDORANDOM[readAlgorithm(need(scheme?.whole)).oid];
    if (hash === undefined) return unreadable("is authenticated with a hash that the node does not have");
    actual = createHmac(hash, derivePbes2(need(kdf?.whole), undefined, password))
      .update(data)
      .digest();
  } else {
    const hash = HASHES[oid] ?? unreadable("is authenticated with a hash that the node does not have");
    const count = iterations ? readCount(iterations.content) : 1;
    const key = derivePkcs12(hash, 3, password, need(salt?.content), count, createHash(hash).digest().length);
    actual = createHmac(hash, key).update(data).digest();
  }
  return actual.length === digest.length && timingSafeEqual(actual, digest);
}

/** RFC 7292, appendix B.2. `purpose`: 1 a key, 2 an initialization vector, 3 a MAC's key. */
function derivePkcs12(
  hash: string,
  purpose: number,
  password: string,
  salt: Buffer,
  iterations: number,
  length: number,
): Buffer {
  const block = hash === "sha384" || hash === "sha512" ? 128 : 64;
  // A BMPString with its terminator: big-endian UTF-16.
  const secret = Buffer.from(`${password}\0`, "utf16le").swap16();
  const fill = (bytes: Buffer) => Buffer.alloc(block * Math.ceil(bytes.length / block), bytes);
  const input = Buffer.concat([fill(salt), fill(secret)]);
  const diversifier = Buffer.alloc(block, purpose);
  const output: Buffer[] = [];
  for (let made = 0; made < length; ) {
    let digest = createHash(hash).update(diversifier).update(input).digest();
    for (let round = 1; round < iterations; round += 1) digest = createHash(hash).update(digest).digest();
    output.push(digest);
    made += digest.length;
    addToBlocks(input, Buffer.alloc(block, digest));
  }
  return Buffer.concat(output).subarray(0, length);
}

/** Adds the addend plus one to every block of `input`, each a big-endian number without overflow. */
function addToBlocks(input: Buffer, addend: Buffer): void {
  for (let start = 0; start < input.length; start += addend.length) {
    let carry = 1;
    for (let at = addend.length - 1; at >= 0; at -= 1) {
      carry += input[start + at]! + addend[at]!;
      input[start + at] = carry & 0xff;
      carry >>= 8;
    }
  }
}

/** PBES2 with PBKDF2 on HMAC-SHA-256 and AES-256: what every version of OpenSSL since 1.0 reads. Answers both elements of an EncryptedPrivateKeyInfo. */
export function encryptUnderPassword(data: Buffer, salt: Buffer, iterations: number, derive: Derive): Buffer {
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", derive("sha256", salt, iterations, 32), iv);
  const encrypted = Buffer.concat([cipher.update(data), cipher.final()]);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(iterations);
  const prf = encode(TAG.sequence, encodeOid(OIDS.hmacSha256), Buffer.from([5, 0]));
  const kdfParameters = encode(TAG.sequence, encode(TAG.octetString, salt), encodeInteger(count), prf);
  const kdf = encode(TAG.sequence, encodeOid(OIDS.pbkdf2), kdfParameters);
  const scheme = encode(TAG.sequence, encodeOid(OIDS.aes256), encode(TAG.octetString, iv));
  const algorithm = encode(TAG.sequence, encodeOid(OIDS.pbes2), encode(TAG.sequence, kdf, scheme));
  return Buffer.concat([algorithm, encode(TAG.octetString, encrypted)]);
}

function decipher(name: string, key: Buffer, iv: Buffer, data: Buffer): Buffer {
  try {
    const stream = createDecipheriv(name, key, iv);
    return Buffer.concat([stream.update(data), stream.final()]);
  } catch {
    return unreadable(WRONG_PASSWORD);
  }
}

/** `parameters`: what stands inside of a SEQUENCE; `inner`: the contents of whatever stands there. */
function readAlgorithm(algorithm: Buffer): { oid: string; parameters: Buffer; inner: Buffer } {
  const [outer] = readElements(algorithm);
  const [oid, parameters] = readElements(outer?.tag === TAG.sequence ? outer.content : unreadable(NOT_ONE));
  const inner = parameters?.content ?? Buffer.alloc(0);
  return {
    oid: need(oid).content.toString("hex"),
    inner,
    parameters: parameters?.tag === TAG.sequence ? inner : Buffer.alloc(0),
  };
}

function readCount(content: Buffer | undefined): number {
  const bytes = need(content);
  const count = bytes.length > 0 && bytes.length <= 4 ? bytes.readUIntBE(0, bytes.length) : 0;
  if (count < 1 || count > MAX_ITERATIONS) return unreadable("asks for a number of rounds that nobody uses");
  return count;
}

export const WRONG_PASSWORD = "is encrypted under another passphrase";
const NOT_ONE = "is not what it says it is";

function need<Value>(value: Value | undefined): Value {
  return value === undefined ? unreadable(NOT_ONE) : value;
}

function unreadable(why: string): never {
  throw new ConfigError("", why);
}
