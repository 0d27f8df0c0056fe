import { type KeyType, VERSIONS } from "../../vocabulary.ts";
import type { ClientHello } from "../../wire/client-hello.ts";
import { SIGNALLING_SUITES } from "../../wire/numbers.ts";

const ECDSA_SECP256R1_SHA256 = 0x0403;
const SECP256R1 = 0x0017;
const UNCOMPRESSED = 0;

/** ECDHE_ECDSA suites that OpenSSL has and TLS 1.0 already knew: RFC 8422, section 6. */
const ECDSA_SUITES = new Set([0xc009, 0xc00a]);

/** The same and those with RC4 and 3DES, which the node speaks over SSL 3.0 only; and what is no suite but a signal. */
const ECDSA_SUITES_SSL3 = new Set([0xc007, 0xc008, ...ECDSA_SUITES]);
const SIGNALS = new Set<number>(Object.values(SIGNALLING_SUITES));

/** The same from TLS 1.2 on: CBC with SHA-2, GCM, CCM, ChaCha20 (RFC 5289, 7251, 7905), ARIA and Camellia (RFC 6209, 6367). */
const ECDSA_SUITES_1_2 = new Set([
  0xc023, 0xc024, 0xc02b, 0xc02c, 0xc05c, 0xc05d, 0xc072, 0xc073, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xcca9,
]);

/**
 * The key type that this client can verify: ECDSA P-256 where it can, RSA-2048 otherwise. It must be able to both in
 * TLS 1.3 and in the highest older version, for it is not known yet which will be agreed. `versions`: those of the
 * client's that the node may agree to, highest first.
 */
export function keyTypeFor(hello: ClientHello, versions: readonly number[] = hello.versions): KeyType {
  const older = versions.find((version) => version < VERSIONS["TLSv1.3"]);
  const judged = [
    ...(versions.includes(VERSIONS["TLSv1.3"]) ? [VERSIONS["TLSv1.3"]] : []),
    ...(older === undefined ? [] : [older]),
  ];
  return judged.length > 0 && judged.every((version) => canVerifyEcdsa(hello, version)) ? "ecdsa" : "rsa";
}

function canVerifyEcdsa(hello: ClientHello, version: number): boolean {
  const named = hello.signatureAlgorithms.includes(ECDSA_SECP256R1_SHA256);
  // RFC 8446, section 4.2.3: in TLS 1.3 the scheme names curve and hash, and suites say nothing of authentication.
  if (version >= VERSIONS["TLSv1.3"]) return named;
  // Clients as old as SSL 3.0 know RSA, if they know anything.
  if (version < VERSIONS.TLSv1 && hello.cipherSuites.some((id) => !ECDSA_SUITES_SSL3.has(id) && !SIGNALS.has(id)))
    return false;
  // Without signature_algorithms a TLS 1.2 client has promised SHA-1 only: RFC 5246, section 7.4.1.4.1.
  if (version === VERSIONS["TLSv1.2"] && !named) return false;
  const older = version < VERSIONS.TLSv1 ? ECDSA_SUITES_SSL3 : ECDSA_SUITES;
  const suites = version === VERSIONS["TLSv1.2"] ? [older, ECDSA_SUITES_1_2] : [older];
  if (!hello.cipherSuites.some((suite) => suites.some((known) => known.has(suite)))) return false;
  // RFC 8422, section 5.1: supported_groups binds the certificate's curve too. A client that sends none may know any
  // curve or only its own; RSA is then the safer guess.
  if (!hello.supportedGroups.includes(SECP256R1)) return false;
  return hello.ecPointFormats.length === 0 || hello.ecPointFormats.includes(UNCOMPRESSED);
}
