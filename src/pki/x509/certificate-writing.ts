import { type KeyObject, randomBytes, sign } from "node:crypto";
import { promisify } from "node:util";
import { InvariantError } from "../../errors.ts";
import { encode, encodeInteger, encodeNull, encodeOid, encodeTime, TAG } from "./der.ts";
import { OID } from "./oid.ts";

/** The contents of a new certificate. Times in ms since the epoch; names and extensions are whole DER elements. */
export interface CertificateContent {
  readonly serial: Buffer;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: Buffer;
  readonly extensions: readonly Buffer[];
}

const signInBackground = promisify(sign);

/**
 * Writes and signs a version 3 certificate: RFC 5280, section 4.1. No library does this, because it would decode names
 * and extensions and encode them again: here their bytes stay exactly as they are. `wanted`: the hash, if not the usual one.
 */
export async function issueCertificate(
  content: CertificateContent,
  signer: KeyObject,
  wanted?: SignatureHash,
): Promise<Buffer> {
  const { algorithm, hash } = signatureOf(signer, wanted);
  const body = encode(
    TAG.sequence,
    encode(0xa0, encodeInteger(Buffer.from([2]))),
    encodeInteger(content.serial),
    algorithm,
    content.issuer,
    encode(TAG.sequence, encodeTime(content.notBefore), encodeTime(content.notAfter)),
    content.subject,
    content.publicKey,
    encode(0xa3, encode(TAG.sequence, ...content.extensions)),
  );
  const signature = await signInBackground(hash, body, signer);
  return encode(TAG.sequence, body, algorithm, encode(TAG.bitString, Buffer.from([0]), signature));
}

/**
 * How a key signs. `algorithm`: an AlgorithmIdentifier, a whole element. `hash`: null for Ed25519, which has its own. `wanted`: another
 * hash than the one that fits the key.
 */
export function signatureOf(
  key: KeyObject,
  wanted?: SignatureHash,
): { readonly algorithm: Buffer; readonly hash: string | null } {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  const kind = key.asymmetricKeyType;
  if (wanted && kind === "rsa")
    return { algorithm: encode(TAG.sequence, encodeOid(RSA[wanted]), encodeNull()), hash: wanted };
  if (wanted && kind === "ec") return { algorithm: encode(TAG.sequence, encodeOid(ECDSA[wanted])), hash: wanted };
  switch (kind === "ec" ? curve : kind) {
    case "rsa":
      return { algorithm: encode(TAG.sequence, encodeOid(OID.rsaSha256), encodeNull()), hash: "sha256" };
    case "prime256v1":
      return { algorithm: encode(TAG.sequence, encodeOid(OID.ecdsaSha256)), hash: "sha256" };
    case "secp384r1":
      return { algorithm: encode(TAG.sequence, encodeOid(OID.ecdsaSha384)), hash: "sha384" };
    case "secp521r1":
      return { algorithm: encode(TAG.sequence, encodeOid(OID.ecdsaSha512)), hash: "sha512" };
    case "ed25519":
      return { algorithm: encode(TAG.sequence, encodeOid(OID.ed25519)), hash: null };
    default:
      throw new InvariantError(`Cannot sign a certificate with a key of type ${key.asymmetricKeyType} ${curve ?? ""}`);
  }
}

/** Hashes other than the usual one, for clients that do not verify that. */
export type SignatureHash = "sha384" | "sha512";

const RSA = { sha384: OID.rsaSha384, sha512: OID.rsaSha512 } as const;
const ECDSA = { sha384: OID.ecdsaSha384, sha512: OID.ecdsaSha512 } as const;

/** A unique serial number: random, positive, always 16 bytes long (RFC 5280, section 4.1.2.2 allows 20). */
export function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

/** Writes a Name with one attribute in each RDN, most general first: RFC 5280, section 4.1.2.4. */
export function encodeName(attributes: readonly (readonly [oid: string, value: string])[]): Buffer {
  const sets = attributes.map(([oid, value]) =>
    encode(TAG.set, encode(TAG.sequence, encodeOid(oid), encode(TAG.utf8String, Buffer.from(value)))),
  );
  return encode(TAG.sequence, ...sets);
}

/** Writes one Extension: RFC 5280, section 4.1. DER omits a `critical` that is false. */
export function encodeExtension(oid: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [encode(TAG.boolean, Buffer.from([0xff]))] : [];
  return encode(TAG.sequence, encodeOid(oid), ...flag, encode(TAG.octetString, value));
}

/** Writes the value of keyUsage; `bits` is a sum of KEY_USAGE. DER omits trailing zero bits. */
export function encodeKeyUsage(bits: number): Buffer {
  const unused = 31 - Math.clz32(bits & -bits);
  return encode(TAG.bitString, Buffer.from([unused, bits]));
}
