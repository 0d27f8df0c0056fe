/**
 * The kinds of keys in issued certificates: all with which OpenSSL 3.5 signs in TLS. Nearly every client verifies ECDSA on P-256 or RSA;
 * the others are for clients that verify neither, such as those that demand 192 bits of security.
 */
export type LeafKeyType =
  | "ecdsa"
  | "rsa"
  | `ecdsa-${"p384" | "p521" | "brainpool256" | "brainpool384" | "brainpool512"}`
  | "ed25519"
  | "ed448"
  | `rsa-pss-${"sha256" | "sha384" | "sha512"}`
  | `ml-dsa-${"44" | "65" | "87"}`;

export type RareKeyType = Exclude<LeafKeyType, "ecdsa" | "rsa">;

export interface LeafKind {
  /** The signature scheme of TLS 1.3 that it makes. */
  readonly scheme: number;
  /** The schemes of TLS 1.2; with ECDSA the hash only, because the group is named elsewhere. None: it has none there. */
  readonly schemes12: readonly number[];
  /** The curve, which TLS 1.2 and below must have among supported_groups; undefined: no curve is named there. */
  readonly group?: number;
  /** The authentication of cipher suites up to TLS 1.2. */
  readonly auth: "ecdsa" | "rsa";
}

/** In the order of preference. */
export const RARE_KINDS: readonly (readonly [RareKeyType, LeafKind])[] = [
  ["ecdsa-p384", onCurve(0x0503, 0x0018)],
  ["ecdsa-p521", onCurve(0x0603, 0x0019)],
  ["ed25519", { scheme: 0x0807, schemes12: [0x0807], auth: "ecdsa" }],
  ["ed448", { scheme: 0x0808, schemes12: [0x0808], auth: "ecdsa" }],
  // TLS 1.3 has them under numbers of their own: RFC 8734.
  ["ecdsa-brainpool256", onCurve(0x081a, 0x001a)],
  ["ecdsa-brainpool384", onCurve(0x081b, 0x001b)],
  ["ecdsa-brainpool512", onCurve(0x081c, 0x001c)],
  ["rsa-pss-sha256", { scheme: 0x0809, schemes12: [0x0809], auth: "rsa" }],
  ["rsa-pss-sha384", { scheme: 0x080a, schemes12: [0x080a], auth: "rsa" }],
  ["rsa-pss-sha512", { scheme: 0x080b, schemes12: [0x080b], auth: "rsa" }],
  ["ml-dsa-44", { scheme: 0x0904, schemes12: [], auth: "ecdsa" }],
  ["ml-dsa-65", { scheme: 0x0905, schemes12: [], auth: "ecdsa" }],
  ["ml-dsa-87", { scheme: 0x0906, schemes12: [], auth: "ecdsa" }],
];

function onCurve(scheme: number, group: number): LeafKind {
  return { scheme, schemes12: [0x0403, 0x0503, 0x0603], group, auth: "ecdsa" };
}
