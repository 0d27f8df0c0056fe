/** A key exchange group that the node may offer and accept: RFC 8446, section 4.2.7. */
export interface Group {
  readonly id: number;
  /** IANA's name. */
  readonly name: string;
  /** OpenSSL's name, for `ecdhCurve`. */
  readonly openssl: string;
  /** The versions that can use it: all, TLS 1.3 only, or TLS 1.2 and below. */
  readonly versions: "any" | "1.3" | "1.2-";
  /** The length of its prime, for groups over integers (RFC 7919), where it decides what a handshake costs. */
  readonly bits?: number;
}

/** The group with this number; undefined: the node does not use it. */
export function groupById(id: number): Group | undefined {
  return BY_ID.get(id);
}

/** The same, unless it is one over integers with more bits than these. */
export function groupWithin(bits: number): (id: number) => Group | undefined {
  return (id) => {
    const group = groupById(id);
    return group && (group.bits ?? 0) <= bits ? group : undefined;
  };
}

/** The group with this OpenSSL name, in any of the spellings that OpenSSL uses. */
export function groupByOpenssl(name: string): Group | undefined {
  const wanted = OPENSSL_ALIASES[name] ?? name;
  return GROUPS.find(({ openssl }) => openssl.toLowerCase() === wanted.toLowerCase());
}

/** OpenSSL accepts the NIST names of curves, but reports the names of ANSI X9.62 and SEC 2. */
const OPENSSL_ALIASES: Readonly<Record<string, string>> = {
  prime256v1: "P-256",
  secp256r1: "P-256",
  secp384r1: "P-384",
  secp521r1: "P-521",
  secp224r1: "P-224",
};

/** The groups of OpenSSL 3.5 with at least 112 bits of security. The order has no meaning: the client's order counts. */
export const GROUPS: readonly Group[] = [
  { id: 0x11ec, name: "X25519MLKEM768", openssl: "X25519MLKEM768", versions: "1.3" },
  { id: 0x11eb, name: "SecP256r1MLKEM768", openssl: "SecP256r1MLKEM768", versions: "1.3" },
  { id: 0x11ed, name: "SecP384r1MLKEM1024", openssl: "SecP384r1MLKEM1024", versions: "1.3" },
  { id: 0x0200, name: "MLKEM512", openssl: "MLKEM512", versions: "1.3" },
  { id: 0x0201, name: "MLKEM768", openssl: "MLKEM768", versions: "1.3" },
  { id: 0x0202, name: "MLKEM1024", openssl: "MLKEM1024", versions: "1.3" },
  { id: 0x001d, name: "x25519", openssl: "X25519", versions: "any" },
  { id: 0x0017, name: "secp256r1", openssl: "P-256", versions: "any" },
  { id: 0x001e, name: "x448", openssl: "X448", versions: "any" },
  { id: 0x0018, name: "secp384r1", openssl: "P-384", versions: "any" },
  { id: 0x0019, name: "secp521r1", openssl: "P-521", versions: "any" },
  { id: 0x0015, name: "secp224r1", openssl: "P-224", versions: "1.2-" },
  { id: 0x0016, name: "secp256k1", openssl: "secp256k1", versions: "1.2-" },
  { id: 0x001a, name: "brainpoolP256r1", openssl: "brainpoolP256r1", versions: "1.2-" },
  { id: 0x001b, name: "brainpoolP384r1", openssl: "brainpoolP384r1", versions: "1.2-" },
  { id: 0x001c, name: "brainpoolP512r1", openssl: "brainpoolP512r1", versions: "1.2-" },
  { id: 0x001f, name: "brainpoolP256r1tls13", openssl: "brainpoolP256r1tls13", versions: "1.3" },
  { id: 0x0020, name: "brainpoolP384r1tls13", openssl: "brainpoolP384r1tls13", versions: "1.3" },
  { id: 0x0021, name: "brainpoolP512r1tls13", openssl: "brainpoolP512r1tls13", versions: "1.3" },
  { id: 0x0100, name: "ffdhe2048", openssl: "ffdhe2048", versions: "1.3", bits: 2048 },
  { id: 0x0101, name: "ffdhe3072", openssl: "ffdhe3072", versions: "1.3", bits: 3072 },
  { id: 0x0102, name: "ffdhe4096", openssl: "ffdhe4096", versions: "1.3", bits: 4096 },
  { id: 0x0103, name: "ffdhe6144", openssl: "ffdhe6144", versions: "1.3", bits: 6144 },
  { id: 0x0104, name: "ffdhe8192", openssl: "ffdhe8192", versions: "1.3", bits: 8192 },
];

const BY_ID = new Map(GROUPS.map((group) => [group.id, group]));
