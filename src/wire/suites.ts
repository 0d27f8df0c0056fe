/** A cipher suite that the node may offer and accept. */
export interface Suite {
  readonly id: number;
  /** OpenSSL's name, for `ciphers`. */
  readonly openssl: string;
  /** The versions that can use it: TLS 1.3, TLS 1.2, or TLS 1.0 to 1.2. */
  readonly versions: "1.3" | "1.2" | "1.0+";
  readonly exchange: "any" | "ecdhe" | "dhe" | "rsa";
  /** The kind of certificate key that it needs; "any": the signature scheme decides. */
  readonly auth: "any" | "ecdsa" | "rsa";
}

/** The suite with this number; undefined: the node does not use it. */
export function suiteById(id: number): Suite | undefined {
  return BY_ID.get(id);
}

type Row = readonly [number, string, Suite["versions"], Suite["exchange"], Suite["auth"]];
/**
 * The suites of OpenSSL 3.5 with certificates and encryption: no NULL, anonymous, export, RC4 or DES suite, and none with
 * pre-shared keys, SRP or DSA, for which the node has no credentials. Ordered by number: the client's order counts.
 */
const ROWS: readonly Row[] = [
  [0x002f, "AES128-SHA", "1.0+", "rsa", "rsa"],
  [0x0033, "DHE-RSA-AES128-SHA", "1.0+", "dhe", "rsa"],
  [0x0035, "AES256-SHA", "1.0+", "rsa", "rsa"],
  [0x0039, "DHE-RSA-AES256-SHA", "1.0+", "dhe", "rsa"],
  [0x003c, "AES128-SHA256", "1.2", "rsa", "rsa"],
  [0x003d, "AES256-SHA256", "1.2", "rsa", "rsa"],
  [0x0041, "CAMELLIA128-SHA", "1.0+", "rsa", "rsa"],
  [0x0045, "DHE-RSA-CAMELLIA128-SHA", "1.0+", "dhe", "rsa"],
  [0x0067, "DHE-RSA-AES128-SHA256", "1.2", "dhe", "rsa"],
  [0x006b, "DHE-RSA-AES256-SHA256", "1.2", "dhe", "rsa"],
  [0x0084, "CAMELLIA256-SHA", "1.0+", "rsa", "rsa"],
  [0x0088, "DHE-RSA-CAMELLIA256-SHA", "1.0+", "dhe", "rsa"],
  [0x009c, "AES128-GCM-SHA256", "1.2", "rsa", "rsa"],
  [0x009d, "AES256-GCM-SHA384", "1.2", "rsa", "rsa"],
  [0x009e, "DHE-RSA-AES128-GCM-SHA256", "1.2", "dhe", "rsa"],
  [0x009f, "DHE-RSA-AES256-GCM-SHA384", "1.2", "dhe", "rsa"],
  [0x00ba, "CAMELLIA128-SHA256", "1.2", "rsa", "rsa"],
  [0x00be, "DHE-RSA-CAMELLIA128-SHA256", "1.2", "dhe", "rsa"],
  [0x00c0, "CAMELLIA256-SHA256", "1.2", "rsa", "rsa"],
  [0x00c4, "DHE-RSA-CAMELLIA256-SHA256", "1.2", "dhe", "rsa"],
  [0x1301, "TLS_AES_128_GCM_SHA256", "1.3", "any", "any"],
  [0x1302, "TLS_AES_256_GCM_SHA384", "1.3", "any", "any"],
  [0x1303, "TLS_CHACHA20_POLY1305_SHA256", "1.3", "any", "any"],
  [0x1304, "TLS_AES_128_CCM_SHA256", "1.3", "any", "any"],
  [0x1305, "TLS_AES_128_CCM_8_SHA256", "1.3", "any", "any"],
  [0xc009, "ECDHE-ECDSA-AES128-SHA", "1.0+", "ecdhe", "ecdsa"],
  [0xc00a, "ECDHE-ECDSA-AES256-SHA", "1.0+", "ecdhe", "ecdsa"],
  [0xc013, "ECDHE-RSA-AES128-SHA", "1.0+", "ecdhe", "rsa"],
  [0xc014, "ECDHE-RSA-AES256-SHA", "1.0+", "ecdhe", "rsa"],
  [0xc023, "ECDHE-ECDSA-AES128-SHA256", "1.2", "ecdhe", "ecdsa"],
  [0xc024, "ECDHE-ECDSA-AES256-SHA384", "1.2", "ecdhe", "ecdsa"],
  [0xc027, "ECDHE-RSA-AES128-SHA256", "1.2", "ecdhe", "rsa"],
  [0xc028, "ECDHE-RSA-AES256-SHA384", "1.2", "ecdhe", "rsa"],
  [0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", "1.2", "ecdhe", "ecdsa"],
  [0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", "1.2", "ecdhe", "ecdsa"],
  [0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", "1.2", "ecdhe", "rsa"],
  [0xc030, "ECDHE-RSA-AES256-GCM-SHA384", "1.2", "ecdhe", "rsa"],
  [0xc050, "ARIA128-GCM-SHA256", "1.2", "rsa", "rsa"],
  [0xc051, "ARIA256-GCM-SHA384", "1.2", "rsa", "rsa"],
  [0xc052, "DHE-RSA-ARIA128-GCM-SHA256", "1.2", "dhe", "rsa"],
  [0xc053, "DHE-RSA-ARIA256-GCM-SHA384", "1.2", "dhe", "rsa"],
  [0xc05c, "ECDHE-ECDSA-ARIA128-GCM-SHA256", "1.2", "ecdhe", "ecdsa"],
  [0xc05d, "ECDHE-ECDSA-ARIA256-GCM-SHA384", "1.2", "ecdhe", "ecdsa"],
  [0xc060, "ECDHE-ARIA128-GCM-SHA256", "1.2", "ecdhe", "rsa"],
  [0xc061, "ECDHE-ARIA256-GCM-SHA384", "1.2", "ecdhe", "rsa"],
  [0xc072, "ECDHE-ECDSA-CAMELLIA128-SHA256", "1.2", "ecdhe", "ecdsa"],
  [0xc073, "ECDHE-ECDSA-CAMELLIA256-SHA384", "1.2", "ecdhe", "ecdsa"],
  [0xc076, "ECDHE-RSA-CAMELLIA128-SHA256", "1.2", "ecdhe", "rsa"],
  [0xc077, "ECDHE-RSA-CAMELLIA256-SHA384", "1.2", "ecdhe", "rsa"],
  [0xc09c, "AES128-CCM", "1.2", "rsa", "rsa"],
  [0xc09d, "AES256-CCM", "1.2", "rsa", "rsa"],
  [0xc09e, "DHE-RSA-AES128-CCM", "1.2", "dhe", "rsa"],
  [0xc09f, "DHE-RSA-AES256-CCM", "1.2", "dhe", "rsa"],
  [0xc0a0, "AES128-CCM8", "1.2", "rsa", "rsa"],
  [0xc0a1, "AES256-CCM8", "1.2", "rsa", "rsa"],
  [0xc0a2, "DHE-RSA-AES128-CCM8", "1.2", "dhe", "rsa"],
  [0xc0a3, "DHE-RSA-AES256-CCM8", "1.2", "dhe", "rsa"],
  [0xc0ac, "ECDHE-ECDSA-AES128-CCM", "1.2", "ecdhe", "ecdsa"],
  [0xc0ad, "ECDHE-ECDSA-AES256-CCM", "1.2", "ecdhe", "ecdsa"],
  [0xc0ae, "ECDHE-ECDSA-AES128-CCM8", "1.2", "ecdhe", "ecdsa"],
  [0xc0af, "ECDHE-ECDSA-AES256-CCM8", "1.2", "ecdhe", "ecdsa"],
  [0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", "1.2", "ecdhe", "rsa"],
  [0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", "1.2", "ecdhe", "ecdsa"],
  [0xccaa, "DHE-RSA-CHACHA20-POLY1305", "1.2", "dhe", "rsa"],
];

export const SUITES: readonly Suite[] = ROWS.map(([id, openssl, versions, exchange, auth]) => {
  return { id, openssl, versions, exchange, auth };
});

/** Parts of OpenSSL's names, strongest first: AEAD, AEAD with tags of 64 bits, CBC. */
const STRENGTHS: readonly (readonly string[])[] = [
  ["AES256-GCM", "CHACHA20", "AES256-CCM", "ARIA256", "AES128-GCM", "AES128-CCM", "ARIA128"],
  ["AES256-CCM8", "AES128-CCM8"],
  ["AES256-SHA384", "AES256-SHA", "CAMELLIA256", "AES128-SHA", "CAMELLIA128"],
];

/** All suites; those below TLS 1.3 strongest first: forward secrecy counts most, and then AEAD. */
export const STRONGEST_FIRST: readonly Suite[] = [
  ...SUITES.filter(({ versions }) => versions === "1.3"),
  ...SUITES.filter(({ versions }) => versions !== "1.3").sort((one, other) => rankOf(one) - rankOf(other)),
];

/** Larger is weaker. ECDSA costs a server less than RSA. */
function rankOf({ openssl, exchange, auth }: Suite): number {
  // The last one: names with CCM8 have CCM in them too.
  const kind = STRENGTHS.findLastIndex((names) => names.some((name) => openssl.includes(name)));
  const cipher = STRENGTHS[kind]!.findIndex((name) => openssl.includes(name));
  const marks = [Number(exchange === "rsa"), kind, Number(exchange === "dhe"), cipher, Number(auth === "rsa")];
  return marks.reduce((sum, mark) => 10 * sum + mark, 0);
}

const BY_ID = new Map(SUITES.map((suite) => [suite.id, suite]));
