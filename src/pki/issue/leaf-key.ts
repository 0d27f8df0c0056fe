import { generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import type { IssuedKey } from "./rsa-pool.ts";

/**
 * The kinds of keys in issued certificates: all with which OpenSSL 3.5 signs in TLS. Nearly every client verifies ECDSA on P-256 or RSA;
 * the others are for clients that verify neither, such as those that demand 192 bits of security.
 */
export interface LeafKind {
  /** The signature schemes of TLS 1.3 that it makes. */
  readonly schemes: readonly number[];
  /** The schemes of TLS 1.2; with ECDSA the hash only, because the group is named elsewhere. None: it has none there. */
  readonly schemes12: readonly number[];
  /** The curve, which TLS 1.2 and below must have among supported_groups; undefined: no curve is named there. */
  readonly group?: number;
  /** The authentication of cipher suites up to TLS 1.2. */
  readonly auth: "ecdsa" | "rsa";
  /** Whether TLS 1.0 and 1.1 have it. */
  readonly old: boolean;
  make(): Promise<IssuedKey>;
}

export type LeafKeyType =
  | "ecdsa"
  | "rsa"
  | `ecdsa-${"p384" | "p521" | "brainpool256" | "brainpool384" | "brainpool512"}`
  | "ed25519"
  | "ed448"
  | `rsa-pss-${"sha256" | "sha384" | "sha512"}`
  | `ml-dsa-${"44" | "65" | "87"}`;

const ECDSA_12 = [0x0403, 0x0503, 0x0603];

/** In the order of preference. */
export const RARE_KINDS: ReadonlyMap<LeafKeyType, LeafKind> = new Map<LeafKeyType, LeafKind>([
  ["ecdsa-p384", onCurve("P-384", 0x0503, { schemes12: ECDSA_12, group: 0x0018, old: true })],
  ["ecdsa-p521", onCurve("P-521", 0x0603, { schemes12: ECDSA_12, group: 0x0019, old: true })],
  ["ed25519", ofType("ed25519", 0x0807, [0x0807])],
  ["ed448", ofType("ed448", 0x0808, [0x0808])],
  // TLS 1.3 has them under numbers of their own: RFC 8734.
  ["ecdsa-brainpool256", onCurve("brainpoolP256r1", 0x081a, { schemes12: ECDSA_12, group: 0x001a, old: true })],
  ["ecdsa-brainpool384", onCurve("brainpoolP384r1", 0x081b, { schemes12: ECDSA_12, group: 0x001b, old: true })],
  ["ecdsa-brainpool512", onCurve("brainpoolP512r1", 0x081c, { schemes12: ECDSA_12, group: 0x001c, old: true })],
  ["rsa-pss-sha256", withPss("sha256", 0x0809)],
  ["rsa-pss-sha384", withPss("sha384", 0x080a)],
  ["rsa-pss-sha512", withPss("sha512", 0x080b)],
  ["ml-dsa-44", ofType("ml-dsa-44", 0x0904, [])],
  ["ml-dsa-65", ofType("ml-dsa-65", 0x0905, [])],
  ["ml-dsa-87", ofType("ml-dsa-87", 0x0906, [])],
]);

const generate = promisify(generateKeyPair);
const ENCODED = {
  publicKeyEncoding: { type: "spki", format: "der" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
} as const;

function onCurve(
  namedCurve: string,
  scheme: number,
  below: Pick<Required<LeafKind>, "schemes12" | "group" | "old">,
): LeafKind {
  const make = async () => issued(await generate("ec", { namedCurve, ...ENCODED }));
  return { schemes: [scheme], auth: "ecdsa", ...below, make };
}

function ofType(
  type: "ed25519" | "ed448" | `ml-dsa-${"44" | "65" | "87"}`,
  scheme: number,
  schemes12: number[],
): LeafKind {
  const make = async () => issued(await generate(type as "ed25519", ENCODED));
  return { schemes: [scheme], schemes12, auth: "ecdsa", old: false, make };
}

function withPss(hashAlgorithm: string, scheme: number): LeafKind {
  const options = { modulusLength: 2048, publicExponent: 65537, hashAlgorithm, mgf1HashAlgorithm: hashAlgorithm };
  const make = async () => issued(await generate("rsa-pss", { ...options, ...ENCODED }));
  return { schemes: [scheme], schemes12: [scheme], auth: "rsa", old: false, make };
}

function issued({ publicKey, privateKey }: { readonly publicKey: Buffer; readonly privateKey: string }): IssuedKey {
  return { publicKey, keyPem: privateKey };
}
