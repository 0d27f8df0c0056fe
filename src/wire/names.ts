import { CIPHER_SUITE_NAMES } from "./cipher-suite-names.ts";
import { GROUPS } from "./groups.ts";
import { SIGNATURE_SCHEMES } from "./signature-schemes.ts";

/** IANA's names for people and records. A number without a name comes out as hexadecimal: "0x1a2b". */

/** "TLSv1.2" for 0x0303. */
export function nameVersion(version: number): string {
  return VERSION_NAMES.get(version) ?? hex(version);
}

/** "TLS_AES_128_GCM_SHA256" for 0x1301. */
export function nameSuite(id: number): string {
  return CIPHER_SUITE_NAMES.get(id) ?? hex(id);
}

/** "x25519" for 0x001d. */
export function nameGroup(id: number): string {
  return GROUP_NAMES.get(id) ?? hex(id);
}

/** "ecdsa_secp256r1_sha256" for 0x0403. */
export function nameSignatureScheme(id: number): string {
  return SCHEME_NAMES.get(id) ?? hex(id);
}

function hex(id: number): string {
  return `0x${id.toString(16).padStart(4, "0")}`;
}

/** As Node writes them, with SSL's own names below TLS. */
const VERSION_NAMES = new Map([
  [0x0002, "SSLv2"],
  [0x0300, "SSLv3"],
  [0x0301, "TLSv1"],
  [0x0302, "TLSv1.1"],
  [0x0303, "TLSv1.2"],
  [0x0304, "TLSv1.3"],
]);

/** The allowed groups, and those that clients offer although the node will not. */
const GROUP_NAMES = new Map([
  ...GROUPS.map(({ id, name }) => [id, name] as const),
  [0x0001, "sect163k1"] as const,
  [0x0003, "sect163r2"] as const,
  [0x0006, "sect233k1"] as const,
  [0x0007, "sect233r1"] as const,
  [0x0009, "sect283k1"] as const,
  [0x000a, "sect283r1"] as const,
  [0x000b, "sect409k1"] as const,
  [0x000c, "sect409r1"] as const,
  [0x000d, "sect571k1"] as const,
  [0x000e, "sect571r1"] as const,
  [0x0013, "secp192r1"] as const,
  [0x0029, "curveSM2"] as const,
  [0x6399, "X25519Kyber768Draft00"] as const,
  [0x639a, "SecP256r1Kyber768Draft00"] as const,
]);

const SCHEME_NAMES = new Map([
  ...SIGNATURE_SCHEMES.map(({ id, name }) => [id, name] as const),
  [0x0101, "rsa_md5"] as const,
  [0x0202, "dsa_sha1"] as const,
  [0x0302, "dsa_sha224"] as const,
  [0x0402, "dsa_sha256"] as const,
  [0x0502, "dsa_sha384"] as const,
  [0x0602, "dsa_sha512"] as const,
  [0x0708, "sm2sig_sm3"] as const,
]);
