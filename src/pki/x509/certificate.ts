import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { promisify } from "node:util";
import { InvariantError } from "../../errors.ts";
import { encode, encodeInteger, encodeOid, encodeTime, malformed, readElements, readInside, TAG } from "./der.ts";

/** Object identifiers, as the hex of their contents. Extensions: RFC 5280, section 4.2. */
export const OID = {
  subjectKeyIdentifier: "551d0e",
  keyUsage: "551d0f",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  nameConstraints: "551d1e",
  certificatePolicies: "551d20",
  policyMappings: "551d21",
  authorityKeyIdentifier: "551d23",
  policyConstraints: "551d24",
  extendedKeyUsage: "551d25",
  inhibitAnyPolicy: "551d36",
  issuingDistributionPoint: "551d1c",
  deltaCrlIndicator: "551d1b",
  reasonCode: "551d15",
  crlDistributionPoints: "551d1f",
  noRevocationAvailable: "551d38",
  authorityInformationAccess: "2b06010505070101",
  ocsp: "2b06010505073001",
  ocspBasic: "2b0601050507300101",
  ocspNoCheck: "2b0601050507300105",
  ocspSigning: "2b06010505070309",
  tlsFeature: "2b06010505070118",
  commonName: "550403",
  organization: "55040a",
  organizationalUnit: "55040b",
  serverAuth: "2b06010505070301",
  rsassaPss: "2a864886f70d01010a",
} as const;

/** Bits of keyUsage (RFC 5280, section 4.2.1.3), the first being the highest of the first byte. */
export const KEY_USAGE = {
  digitalSignature: 0x80,
  keyEncipherment: 0x20,
  keyAgreement: 0x08,
  keyCertSign: 0x04,
  cRLSign: 0x02,
} as const;

export interface Extension {
  readonly critical: boolean;
  /** What stands inside the extension's OCTET STRING. */
  readonly value: Buffer;
}

/** The parts of a certificate that are read byte for byte. Names are whole DER elements. */
export interface CertificateParts {
  /** The serial number's contents as they stand, with a leading zero where the number needs one. */
  readonly serial: Buffer;
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: Buffer;
  /** The signature's AlgorithmIdentifier, a whole element. */
  readonly signatureAlgorithm: Buffer;
  /** By object identifier in hex, as in OID. */
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** What a new certificate says. Times in ms since the epoch; names and extensions are whole DER elements. */
export interface CertificateContent {
  readonly serial: Buffer;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: Buffer;
  readonly extensions: readonly Buffer[];
}

/** Takes a certificate apart. Throws PeerError when it is not X.509 in DER. */
export function readCertificate(der: Buffer): CertificateParts {
  const [tbs] = readInside(der, TAG.sequence);
  if (tbs?.tag !== TAG.sequence) throw malformed("it has no body");
  const fields = readElements(tbs.content);
  // version [0] is absent from a version 1 certificate: RFC 5280, section 4.1.
  if (fields[0]?.tag === 0xa0) fields.shift();
  const [serial, signatureAlgorithm, issuer, , subject, publicKey, ...rest] = fields;
  if (!serial || !signatureAlgorithm || !issuer || !subject || !publicKey)
    throw malformed("its body has too few fields");
  const last = rest.find((field) => field.tag === 0xa3);
  return {
    serial: serial.content,
    subject: subject.whole,
    issuer: issuer.whole,
    publicKey: publicKey.whole,
    signatureAlgorithm: signatureAlgorithm.whole,
    extensions: last ? readExtensions(last.content) : new Map(),
  };
}

/** Reads the SEQUENCE of Extensions: RFC 5280, section 4.1. Lists and answers of revocation have the same. Throws PeerError. */
export function readExtensions(bytes: Buffer): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const { whole } of readInside(bytes, TAG.sequence)) {
    const [id, ...rest] = readInside(whole, TAG.sequence);
    const critical = rest.length === 2 && rest[0]?.tag === TAG.boolean && rest[0].content[0] !== 0;
    const value = rest.at(-1);
    if (id?.tag !== TAG.oid || value?.tag !== TAG.octetString) throw malformed("an extension is not one");
    const oid = id.content.toString("hex");
    // RFC 5280, section 4.2: at most one of each; two would let two readers see two certificates.
    if (extensions.has(oid)) throw malformed("an extension stands twice");
    extensions.set(oid, { critical, value: value.content });
  }
  return extensions;
}

const signInBackground = promisify(sign);

/**
 * Writes and signs a version 3 certificate: RFC 5280, section 4.1. The bytes of names and extensions stay exactly what
 * they are, which is why they are not handed to a library that would decode and encode them again.
 */
export async function issueCertificate(content: CertificateContent, signer: KeyObject): Promise<Buffer> {
  const { algorithm, hash } = signatureOf(signer);
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

/** How a key signs certificates: RFC 5758, section 3.2, RFC 4055, section 5 and RFC 8410, section 3. `hash` null: its own. */
export function signatureOf(key: KeyObject): { readonly algorithm: Buffer; readonly hash: string | null } {
  if (key.asymmetricKeyType === "ed25519") return { algorithm: encode(TAG.sequence, encodeOid("2b6570")), hash: null };
  if (key.asymmetricKeyType === "rsa") {
    return { algorithm: encode(TAG.sequence, encodeOid("2a864886f70d01010b"), Buffer.from([5, 0])), hash: "sha256" };
  }
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === "prime256v1") return { algorithm: encode(TAG.sequence, encodeOid("2a8648ce3d040302")), hash: "sha256" };
  if (curve === "secp384r1") return { algorithm: encode(TAG.sequence, encodeOid("2a8648ce3d040303")), hash: "sha384" };
  if (curve === "secp521r1") return { algorithm: encode(TAG.sequence, encodeOid("2a8648ce3d040304")), hash: "sha512" };
  throw new InvariantError(`Cannot sign a certificate with a key of type ${key.asymmetricKeyType} ${curve ?? ""}`);
}

/** A serial number that nobody else has: positive, and always 16 bytes long (RFC 5280, section 4.1.2.2 allows 20). */
export function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

/** Writes a Name of single attributes, most general first: RFC 5280, section 4.1.2.4. */
export function encodeName(attributes: readonly (readonly [oid: string, value: string])[]): Buffer {
  const sets = attributes.map(([oid, value]) =>
    encode(TAG.set, encode(TAG.sequence, encodeOid(oid), encode(TAG.utf8String, Buffer.from(value)))),
  );
  return encode(TAG.sequence, ...sets);
}

/** Writes one Extension: RFC 5280, section 4.1. DER leaves out a `critical` that is false. */
export function encodeExtension(oid: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [encode(TAG.boolean, Buffer.from([0xff]))] : [];
  return encode(TAG.sequence, encodeOid(oid), ...flag, encode(TAG.octetString, value));
}

/** Writes keyUsage's value; `bits` is a sum of KEY_USAGE. DER drops the trailing zero bits. */
export function encodeKeyUsage(bits: number): Buffer {
  const unused = 31 - Math.clz32(bits & -bits);
  return encode(TAG.bitString, Buffer.from([unused, bits]));
}

/** The key identifier of RFC 5280, section 4.2.1.2, method 1: SHA-1 of the public key's bits. Not a security measure. */
export function keyIdentifier(publicKey: Buffer): Buffer {
  return createHash("sha1").update(keyBits(publicKey)).digest();
}

/** The key itself in a SubjectPublicKeyInfo, without its algorithm. Throws PeerError. */
export function keyBits(publicKey: Buffer): Buffer {
  const bits = readInside(publicKey, TAG.sequence)[1];
  if (bits?.tag !== TAG.bitString) throw malformed("its public key is not one");
  return bits.content.subarray(1);
}

/** The SubjectPublicKeyInfo that belongs to a private or public key. */
export function publicKeyOf(key: KeyObject): Buffer {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ type: "spki", format: "der" });
}

/** DER to PEM; `label` is what RFC 7468 calls such a thing. */
export function toPem(der: Buffer, label = "CERTIFICATE"): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The certificates in a PEM text, in order, each on its own. Text around them is skipped. */
export function splitPem(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)?.map((block) => `${block}\n`) ?? [];
}
