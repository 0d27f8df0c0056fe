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
import {
  type Element,
  encode,
  encodeInteger,
  encodeNull,
  encodeOid,
  oidOf,
  readElements,
  readInside,
  TAG,
} from "../x509/der.ts";
import { OID } from "../x509/oid.ts";

/**
 * Encryption with a password in PKCS#8 and PKCS#12 files: PBES2 (RFC 8018, section 6.2) and the older schemes of PKCS#12
 * (RFC 7292, appendix C). AlgorithmIdentifiers are whole DER elements. The message of a ConfigError is the end of a
 * sentence about the file, and its path is empty: the caller, who knows the file's place, adds both.
 */

/** Derives a key from a password. A caller with many files can pass one that remembers its results. */
export type Derive = (hash: string, salt: Buffer, iterations: number, length: number) => Buffer;

export function deriveFrom(password: string): Derive {
  return (hash, salt, iterations, length) => pbkdf2Sync(password, salt, iterations, length, hash);
}

/** More would take minutes; only a hostile file asks for it. */
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
  [OID.sha1]: "sha1",
  [OID.sha224]: "sha224",
  [OID.sha256]: "sha256",
  [OID.sha384]: "sha384",
  [OID.sha512]: "sha512",
};

/** RFC 7292, appendix C. OpenSSL still has triple DES, but no longer RC2 and RC4. */
const PKCS12_TRIPLE_DES = "2a864886f70d010c0103";
const PKCS12_SCHEMES = /^2a864886f70d010c010[1-6]$/;
const OUTDATED =
  "is encrypted with RC2, RC4 or two-key DES, which OpenSSL does not support any more; convert it to PEM with openssl pkcs12 -legacy -nodes";

/**
 * Decrypts `data` by its AlgorithmIdentifier. Throws PeerError when the algorithm is not DER, otherwise ConfigError. A
 * wrong password nearly always shows as wrong padding; rarely it decrypts to nonsense.
 */
export function decryptUnderPassword(algorithm: Buffer, data: Buffer, password: string, derive?: Derive): Buffer {
  const { oid, parameters } = readAlgorithm(algorithm);
  if (oid === OIDS.pbes2) {
    const [kdf, scheme] = readElements(parameters);
    const { oid: cipherOid, inner: iv } = readAlgorithm(need(scheme, "encryptionScheme").whole);
    const [cipher, length] = CIPHERS[cipherOid] ?? unreadable("is encrypted with a cipher that the node does not have");
    const key = derivePbes2(need(kdf, "keyDerivationFunc").whole, length, password, derive);
    return decipher(cipher, key, iv, data);
  }
  if (oid === PKCS12_TRIPLE_DES) {
    const [salt, iterations] = readElements(parameters);
    const count = readCount(iterations, "iterations");
    const make = (purpose: number, length: number) =>
      derivePkcs12("sha1", purpose, password, need(salt, "salt").content, count, length);
    return decipher("des-ede3-cbc", make(1, 24), make(2, 8), data);
  }
  if (PKCS12_SCHEMES.test(oid)) unreadable(OUTDATED);
  return unreadable("is encrypted with an algorithm that the node does not have");
}

/** `length` in bytes; undefined: PBKDF2's own parameter, as in RFC 9579, section 4. */
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
    const iterations = readCount(rest[0], "iterationCount");
    return derive(hash, need(salt, "salt").content, iterations, length ?? readLength(rest[1]));
  }
  if (oid === OIDS.scrypt) {
    const options = {
      N: readCount(rest[0], "costParameter"),
      r: readCount(rest[1], "blockSize"),
      p: readCount(rest[2], "parallelizationParameter"),
      maxmem: MAX_SCRYPT_MEMORY,
    };
    try {
      return scryptSync(password, need(salt, "salt").content, length ?? readLength(undefined), options);
    } catch {
      return unreadable("derives its key with scrypt parameters that are invalid or need too much memory");
    }
  }
  return unreadable("derives its key with an algorithm that the node does not have");
}

/** A forged file could have a short key, which can be guessed. Keys longer than the 64 bytes of a hash do not occur. */
function readLength(element: Element | undefined): number {
  const length = readCount(element, "keyLength");
  return length >= 20 && length <= 64 ? length : unreadable(`has a keyLength of ${length} bytes, not 20 to 64`);
}

/** Whether the password authenticates `data`: RFC 7292, section 4 and RFC 9579. `mac`: the contents of MacData. */
export function checkMac(mac: Buffer, data: Buffer, password: string): boolean {
  const [digestInfo, salt, iterations] = readElements(mac);
  const [algorithm, expected] = readElements(need(digestInfo, "mac").content);
  const { oid, parameters } = readAlgorithm(need(algorithm, "digestAlgorithm").whole);
  const digest = need(expected, "digest").content;
  let actual: Buffer;
  if (oid === OIDS.pbmac1) {
    const [kdf, scheme] = readElements(parameters);
    const hash = PSEUDORANDOM[readAlgorithm(need(scheme, "messageAuthScheme").whole).oid];
    if (hash === undefined) return unreadable("is authenticated with a hash that the node does not have");
    const key = derivePbes2(need(kdf, "keyDerivationFunc").whole, undefined, password);
    actual = createHmac(hash, key).update(data).digest();
  } else {
    const hash = HASHES[oid] ?? unreadable("is authenticated with a hash that the node does not have");
    const count = iterations ? readCount(iterations, "iterations") : 1;
    const length = createHash(hash).digest().length;
    const key = derivePkcs12(hash, 3, password, need(salt, "macSalt").content, count, length);
    actual = createHmac(hash, key).update(data).digest();
  }
  return actual.length === digest.length && timingSafeEqual(actual, digest);
}

/** RFC 7292, appendix B.2. `purpose`: 1 for a key, 2 for an initialization vector, 3 for the key of a MAC. */
function derivePkcs12(
  hash: string,
  purpose: number,
  password: string,
  salt: Buffer,
  iterations: number,
  length: number,
): Buffer {
  const block = hash === "sha384" || hash === "sha512" ? 128 : 64;
  // A BMPString with a terminating zero: big-endian UTF-16.
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

/** Adds the addend plus one to every block of `input`. Blocks are big-endian numbers; their overflow is dropped. */
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

/**
 * Encrypts with PBES2: PBKDF2 with HMAC-SHA-256, and AES-256. Every version of OpenSSL since 1.0 can read it. Answers
 * both elements of an EncryptedPrivateKeyInfo.
 */
export function encryptUnderPassword(data: Buffer, salt: Buffer, iterations: number, derive: Derive): Buffer {
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", derive("sha256", salt, iterations, 32), iv);
  const encrypted = Buffer.concat([cipher.update(data), cipher.final()]);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(iterations);
  const prf = encode(TAG.sequence, encodeOid(OIDS.hmacSha256), encodeNull());
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

/** Reads an AlgorithmIdentifier. `inner`: the contents of its parameters; `parameters`: the same, empty unless they are a SEQUENCE. */
function readAlgorithm(algorithm: Buffer): { oid: string; parameters: Buffer; inner: Buffer } {
  const [oid, parameters] = readInside(algorithm, TAG.sequence, "AlgorithmIdentifier");
  const inner = parameters?.content ?? Buffer.alloc(0);
  return {
    oid: oidOf(need(oid, "algorithm")),
    inner,
    parameters: parameters?.tag === TAG.sequence ? inner : Buffer.alloc(0),
  };
}

/** Reads an INTEGER between 1 and MAX_ITERATIONS. */
function readCount(element: Element | undefined, field: string): number {
  const { tag, content: bytes } = need(element, field);
  const count = tag === TAG.integer && bytes.length > 0 && bytes.length <= 4 ? bytes.readUIntBE(0, bytes.length) : 0;
  if (count < 1 || count > MAX_ITERATIONS) return unreadable(`has a ${field} below 1 or above ${MAX_ITERATIONS}`);
  return count;
}

export const WRONG_PASSWORD = "is encrypted with another passphrase";

function need(element: Element | undefined, field: string): Element {
  return element ?? unreadable(`has no ${field} in its encryption`);
}

function unreadable(why: string): never {
  throw new ConfigError("", why);
}
