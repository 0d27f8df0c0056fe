import { constants, type KeyObject, verify } from "node:crypto";
import { promisify } from "node:util";
import { OID } from "./certificate.ts";
import { type Element, malformed, readElements, readInside, TAG } from "./der.ts";

/** What somebody has signed: a certificate, a revocation list or an answer about one. RFC 5280, section 4.1.1. */
export interface Signed {
  /** The bytes that are signed: a SEQUENCE. */
  readonly body: Element;
  /** The signature's AlgorithmIdentifier, a whole element. */
  readonly algorithm: Buffer;
  readonly signature: Buffer;
}

/** Takes the first three of the elements of a signed thing. Throws PeerError. */
export function readSigned([body, algorithm, signature]: readonly Element[]): Signed {
  if (body?.tag !== TAG.sequence || algorithm?.tag !== TAG.sequence) throw malformed("it is not signed");
  // A signature is a whole number of bytes: none of the last one's bits is unused.
  if (signature?.tag !== TAG.bitString || signature.content[0] !== 0) throw malformed("its signature is not one");
  return { body, algorithm: algorithm.whole, signature: signature.content.subarray(1) };
}

const verifyInBackground = promisify(verify) as (
  hash: string | null,
  data: Buffer,
  key: Parameters<typeof verify>[2],
  signature: Buffer,
) => Promise<boolean>;

/** Whether the key has signed it, by a scheme that is strong enough. Large things do not keep the event loop waiting. */
export async function isSignedBy({ body, algorithm, signature }: Signed, key: KeyObject): Promise<boolean> {
  const scheme = readScheme(algorithm);
  if (!scheme?.keyTypes.includes(key.asymmetricKeyType ?? "")) return false;
  const padding = scheme.pss
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : {};
  try {
    return await verifyInBackground(scheme.hash, body.whole, { key, ...padding }, signature);
  } catch {
    // A signature that OpenSSL cannot make sense of proves nothing.
    return false;
  }
}

interface Scheme {
  /** As Node names them. */
  readonly keyTypes: readonly string[];
  /** null: the scheme has its own. */
  readonly hash: string | null;
  readonly pss?: boolean;
}

const RSA = ["rsa"];
const EC = ["ec"];

/** RSA PKCS #1 and ECDSA, each with SHA-256, SHA-384 and SHA-512; Ed25519 and Ed448. What is not here is refused: SHA-1 first of all. */
const SCHEMES: ReadonlyMap<string, Scheme> = new Map([
  ["2a864886f70d01010b", { keyTypes: RSA, hash: "sha256" }],
  ["2a864886f70d01010c", { keyTypes: RSA, hash: "sha384" }],
  ["2a864886f70d01010d", { keyTypes: RSA, hash: "sha512" }],
  ["2a8648ce3d040302", { keyTypes: EC, hash: "sha256" }],
  ["2a8648ce3d040303", { keyTypes: EC, hash: "sha384" }],
  ["2a8648ce3d040304", { keyTypes: EC, hash: "sha512" }],
  ["2b6570", { keyTypes: ["ed25519"], hash: null }],
  ["2b6571", { keyTypes: ["ed448"], hash: null }],
]);

const HASHES: ReadonlyMap<string, string> = new Map([
  ["608648016503040201", "sha256"],
  ["608648016503040202", "sha384"],
  ["608648016503040203", "sha512"],
]);

/** How an AlgorithmIdentifier signs; undefined: by nothing that is relied on. Throws PeerError when it is not one. */
export function readScheme(algorithm: Buffer): Scheme | undefined {
  const [name, parameters] = readInside(algorithm, TAG.sequence);
  const oid = name?.content.toString("hex") ?? "";
  if (oid !== OID.rsassaPss) return SCHEMES.get(oid);
  // RFC 4055, section 3.1: the hash stands in [0]; without it, it is SHA-1.
  const stated = parameters && readElements(parameters.content).find(({ tag }) => tag === 0xa0);
  const hash = stated && HASHES.get(readInside(stated.content, TAG.sequence)[0]?.content.toString("hex") ?? "");
  return hash === undefined ? undefined : { keyTypes: ["rsa", "rsa-pss"], hash, pss: true };
}
