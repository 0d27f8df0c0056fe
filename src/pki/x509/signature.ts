import { constants, type KeyObject, verify } from "node:crypto";
import { promisify } from "node:util";
import { type Element, malformed, oidOf, readElements, readInside, TAG } from "./der.ts";
import { OID } from "./oid.ts";

/** A certificate, a revocation list or an OCSP response with its signature: RFC 5280, section 4.1.1. */
export interface Signed {
  /** The signed bytes: a SEQUENCE. */
  readonly body: Element;
  /** The signature's AlgorithmIdentifier, a whole element. */
  readonly algorithm: Buffer;
  readonly signature: Buffer;
}

/** Reads the first three elements: body, signatureAlgorithm, signature. `name` names the body in errors. Throws PeerError. */
export function readSigned([body, algorithm, signature]: readonly Element[], name: string): Signed {
  if (body?.tag !== TAG.sequence) throw malformed(`${name} is not a SEQUENCE`);
  if (algorithm?.tag !== TAG.sequence) throw malformed("signatureAlgorithm is not a SEQUENCE");
  if (signature?.tag !== TAG.bitString) throw malformed("signature is not a BIT STRING");
  if (signature.content[0] !== 0) throw malformed("signature is not a whole number of bytes");
  return { body, algorithm: algorithm.whole, signature: signature.content.subarray(1) };
}

const verifyInBackground = promisify(verify) as (
  hash: string | null,
  data: Buffer,
  key: Parameters<typeof verify>[2],
  signature: Buffer,
) => Promise<boolean>;

/**
 * Whether the key made the signature, with a scheme that is strong enough. Runs on another thread: a revocation list has
 * megabytes to hash. Throws PeerError for an algorithm that is not DER.
 */
export async function isSignedBy({ body, algorithm, signature }: Signed, key: KeyObject): Promise<boolean> {
  const scheme = readScheme(algorithm);
  if (!scheme?.keyTypes.includes(key.asymmetricKeyType ?? "")) return false;
  const padding = scheme.pss
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : {};
  try {
    return await verifyInBackground(scheme.hash, body.whole, { key, ...padding }, signature);
  } catch {
    // OpenSSL throws for some signatures that are malformed.
    return false;
  }
}

interface Scheme {
  /** Node's names. */
  readonly keyTypes: readonly string[];
  /** Node's name; null: the scheme has its own. */
  readonly hash: string | null;
  readonly pss?: boolean;
}

const RSA = ["rsa"];
const EC = ["ec"];

/** In the order of their object identifiers, from 2.16.840.1.101.3.4.3.20. */
const SLH_DSA = ["sha2", "shake"].flatMap((hash) =>
  ["128s", "128f", "192s", "192f", "256s", "256f"].map((size) => `${hash}-${size}`),
);

/** RSA PKCS #1 and ECDSA with SHA-2, Ed25519, Ed448, ML-DSA and SLH-DSA. All others are too weak, SHA-1 first of all. */
const SCHEMES: ReadonlyMap<string, Scheme> = new Map<string, Scheme>([
  [OID.rsaSha256, { keyTypes: RSA, hash: "sha256" }],
  [OID.rsaSha384, { keyTypes: RSA, hash: "sha384" }],
  [OID.rsaSha512, { keyTypes: RSA, hash: "sha512" }],
  [OID.ecdsaSha256, { keyTypes: EC, hash: "sha256" }],
  [OID.ecdsaSha384, { keyTypes: EC, hash: "sha384" }],
  [OID.ecdsaSha512, { keyTypes: EC, hash: "sha512" }],
  [OID.ed25519, { keyTypes: ["ed25519"], hash: null }],
  [OID.ed448, { keyTypes: ["ed448"], hash: null }],
  [OID.mlDsa44, { keyTypes: ["ml-dsa-44"], hash: null }],
  [OID.mlDsa65, { keyTypes: ["ml-dsa-65"], hash: null }],
  [OID.mlDsa87, { keyTypes: ["ml-dsa-87"], hash: null }],
  ...SLH_DSA.map((name, index): [string, Scheme] => [
    `${OID.slhDsa}${(20 + index).toString(16)}`,
    { keyTypes: [`slh-dsa-${name}`], hash: null },
  ]),
]);

const PSS_HASHES: ReadonlyMap<string, string> = new Map<string, string>([
  [OID.sha256, "sha256"],
  [OID.sha384, "sha384"],
  [OID.sha512, "sha512"],
]);

/** The scheme of an AlgorithmIdentifier; undefined when it is too weak or unknown. Throws PeerError when it is not DER. */
export function readScheme(algorithm: Buffer): Scheme | undefined {
  const [name, parameters] = readInside(algorithm, TAG.sequence, "signatureAlgorithm");
  const oid = oidOf(name);
  if (oid !== OID.rsaPss) return SCHEMES.get(oid);
  // RFC 4055, section 3.1: the hash is in [0]; its default is SHA-1.
  const hashAlgorithm = parameters && readElements(parameters.content).find(({ tag }) => tag === 0xa0);
  if (!hashAlgorithm) return undefined;
  const hash = PSS_HASHES.get(oidOf(readInside(hashAlgorithm.content, TAG.sequence, "hashAlgorithm")[0]));
  return hash === undefined ? undefined : { keyTypes: ["rsa", "rsa-pss"], hash, pss: true };
}
