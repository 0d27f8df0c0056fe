import { type KeyType, VERSIONS } from "../../vocabulary.ts";
import type { ClientHello } from "../../wire/client-hello.ts";
import { EXTENSIONS, SIGNALLING_SUITES } from "../../wire/numbers.ts";

const ECDSA_SECP256R1_SHA256 = 0x0403;
const SECP256R1 = 0x0017;
const UNCOMPRESSED = 0;

/** ECDHE_ECDSA suites of OpenSSL that TLS 1.0 and 1.1 have: RFC 8422, section 6. */
const ECDSA_SUITES = new Set([0xc009, 0xc00a]);

/** SSL 3.0 on the node also has RC4 and 3DES. */
const ECDSA_SUITES_SSL3 = new Set([0xc007, 0xc008, ...ECDSA_SUITES]);
const SIGNALS = new Set<number>(Object.values(SIGNALLING_SUITES));

/** TLS 1.2 also has CBC with SHA-2, GCM, CCM, ChaCha20 (RFC 5289, 7251, 7905), ARIA and Camellia (RFC 6209, 6367). */
const ECDSA_SUITES_1_2 = new Set([
  ...ECDSA_SUITES,
  ...[0xc023, 0xc024, 0xc02b, 0xc02c, 0xc05c, 0xc05d, 0xc072, 0xc073, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xcca9],
]);

/**
 * A key type that this client can verify: ECDSA P-256 if it can, else RSA-2048. The version is not negotiated yet, so
 * the client must be able to verify ECDSA both in TLS 1.3 and in the highest older version. `versions`: the versions of
 * the client that the node may negotiate, highest first.
 */
export function keyTypeFor(hello: ClientHello, versions: readonly number[] = hello.versions): KeyType {
  const older = versions.find((version) => version < VERSIONS["TLSv1.3"]);
  const possible = [
    ...(versions.includes(VERSIONS["TLSv1.3"]) ? [VERSIONS["TLSv1.3"]] : []),
    ...(older === undefined ? [] : [older]),
  ];
  return possible.length > 0 && possible.every((version) => canVerifyEcdsa(hello, version)) ? "ecdsa" : "rsa";
}

function canVerifyEcdsa(hello: ClientHello, version: number): boolean {
  const { cipherSuites, signatureAlgorithms, certificateSignatures, supportedGroups, ecPointFormats } = hello;
  // The CA of each key type signs with a key of the same type.
  if (certificateSignatures && !certificateSignatures.includes(ECDSA_SECP256R1_SHA256)) return false;
  // RFC 8446, section 4.2.3: in TLS 1.3 the scheme names curve and hash, and cipher suites do not matter.
  const hasScheme = signatureAlgorithms.includes(ECDSA_SECP256R1_SHA256);
  if (version >= VERSIONS["TLSv1.3"]) return hasScheme;
  const isOnlyEcdsa = cipherSuites.every((suite) => suitesOf(version).has(suite) || SIGNALS.has(suite));
  // RFC 5246, section 7.4.1.4.1: a TLS 1.2 client without signature_algorithms verifies SHA-1 only, with RSA as well as ECDSA.
  const isSilent = signatureAlgorithms.length === 0 && !hello.extensions.includes(EXTENSIONS.signature_algorithms);
  if (version === VERSIONS["TLSv1.2"] && !hasScheme && !(isSilent && isOnlyEcdsa)) return false;
  // A client of SSL 3.0 verifies RSA, unless all its suites are ECDSA.
  if (version < VERSIONS.TLSv1 && !isOnlyEcdsa) return false;
  if (!cipherSuites.some((suite) => suitesOf(version).has(suite))) return false;
  // RFC 8422, section 5.1: supported_groups restricts the certificate's curve too. A client without the extension may
  // have any curves; RSA is the safer choice where it has RSA.
  if (!supportedGroups.includes(SECP256R1) && !(supportedGroups.length === 0 && isOnlyEcdsa)) return false;
  return ecPointFormats.length === 0 || ecPointFormats.includes(UNCOMPRESSED);
}

function suitesOf(version: number): ReadonlySet<number> {
  if (version === VERSIONS["TLSv1.2"]) return ECDSA_SUITES_1_2;
  return version < VERSIONS.TLSv1 ? ECDSA_SUITES_SSL3 : ECDSA_SUITES;
}
