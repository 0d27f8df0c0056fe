import type { KeyObject } from "node:crypto";
import type { CipherName } from "./bulk-cipher.ts";
import type { MacName } from "./mac.ts";

/** A cipher suite that the engine speaks over SSL 3.0. */
export interface Suite {
  readonly id: number;
  /** IANA's name. */
  readonly name: string;
  readonly exchange: "rsa" | "dhe" | "ecdhe";
  /** The kind of key in the server's certificate. */
  readonly auth: "rsa" | "ecdsa";
  readonly cipher: CipherName;
  readonly mac: MacName;
}

/** The suites that may be used. "rc4" leaves out the block ciphers, which POODLE (CVE-2014-3566) breaks. */
export type SuiteChoice = "all" | "rc4";

/** The suite with this number; undefined: the engine does not have it, or it may not be used. */
export function suiteById(id: number, choice: SuiteChoice): Suite | undefined {
  return suitesFor(choice).find((suite) => suite.id === id);
}

/** The suites in the order in which the engine offers them. */
export function suitesFor(choice: SuiteChoice): readonly Suite[] {
  return choice === "all" ? SUITES : RC4_SUITES;
}

/** The kind of suite that a key can be used for; undefined: none. */
export function authOf(key: KeyObject): Suite["auth"] | undefined {
  if (key.asymmetricKeyType === "rsa") return "rsa";
  return key.asymmetricKeyType === "ec" ? "ecdsa" : undefined;
}

type Row = readonly [number, string, Suite["exchange"], Suite["auth"], CipherName, MacName];
/** Suites with encryption and certificates: no export, NULL, anonymous, DES40, DES or DSS suite. */
const ROWS: readonly Row[] = [
  [0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ecdhe", "ecdsa", "aes-256-cbc", "sha1"],
  [0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ecdhe", "rsa", "aes-256-cbc", "sha1"],
  [0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ecdhe", "ecdsa", "aes-128-cbc", "sha1"],
  [0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ecdhe", "rsa", "aes-128-cbc", "sha1"],
  [0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "dhe", "rsa", "aes-256-cbc", "sha1"],
  [0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", "dhe", "rsa", "aes-128-cbc", "sha1"],
  [0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", "rsa", "rsa", "aes-256-cbc", "sha1"],
  [0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", "rsa", "rsa", "aes-128-cbc", "sha1"],
  [0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA", "ecdhe", "ecdsa", "des-ede3-cbc", "sha1"],
  [0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "ecdhe", "rsa", "des-ede3-cbc", "sha1"],
  [0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", "dhe", "rsa", "des-ede3-cbc", "sha1"],
  [0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "rsa", "rsa", "des-ede3-cbc", "sha1"],
  [0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "ecdhe", "ecdsa", "rc4", "sha1"],
  [0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "ecdhe", "rsa", "rc4", "sha1"],
  [0x0005, "TLS_RSA_WITH_RC4_128_SHA", "rsa", "rsa", "rc4", "sha1"],
  [0x0004, "TLS_RSA_WITH_RC4_128_MD5", "rsa", "rsa", "rc4", "md5"],
];

const SUITES: readonly Suite[] = ROWS.map(([id, name, exchange, auth, cipher, mac]) => {
  return { id, name, exchange, auth, cipher, mac };
});
const RC4_SUITES = SUITES.filter(({ cipher }) => cipher === "rc4");
