import { type KeyType, VERSIONS } from "../../vocabulary.ts";
import type { ClientHello } from "../../wire/client-hello.ts";
import { EXTENSIONS, SIGNALLING_SUITES } from "../../wire/numbers.ts";
import { suiteById } from "../../wire/suites.ts";
import type { SignatureHash } from "../x509/certificate-writing.ts";
import { type LeafKeyType, type LeafKind, RARE_KINDS } from "./leaf-kind.ts";

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

/** What the client can verify: the key of its certificate, and the signature of the CA on it. */
export interface LeafChoice {
  readonly keyType: LeafKeyType;
  /** Which of the node's CAs signs; absent: RSA for an RSA key, ECDSA for the others. */
  readonly signer?: KeyType | undefined;
  /** The hash that the CA signs with; undefined: the CA's usual one. */
  readonly hash?: SignatureHash | undefined;
}

/**
 * Chooses for this client: ECDSA P-256 if it can verify it, else RSA-2048, else any other kind of key. The version is not negotiated
 * yet, so the client must be able to verify the key both in TLS 1.3 and in the highest older version. `versions`: the versions of
 * the client that the node may negotiate, highest first.
 */
export function chooseLeaf(hello: ClientHello, versions: readonly number[] = hello.versions): LeafChoice {
  const keyType = keyTypeFor(hello, versions);
  const schemes = hello.certificateSignatures ?? hello.signatureAlgorithms;
  const hash = hashFor(schemes);
  const hasRsaOnly = schemes.some((id) => RSA_SCHEMES.includes(id)) && !schemes.some((id) => ECDSA.includes(id));
  const isRare = keyType !== "ecdsa" && keyType !== "rsa";
  return { keyType, ...(isRare && hasRsaOnly && { signer: "rsa" as const }), ...(hash && { hash }) };
}

/** RFC 8446, section 4.2.3: the client verifies the signatures in certificates with these schemes. */
function hashFor(schemes: readonly number[]): SignatureHash | undefined {
  const verifies = (hash: readonly number[]) => schemes.some((id) => hash.includes(id));
  if (verifies(SHA256)) return undefined;
  if (verifies(SHA384)) return "sha384";
  return verifies(SHA512) ? "sha512" : undefined;
}

/** ECDSA, RSASSA-PKCS1-v1_5 and RSASSA-PSS with each hash. */
const SHA256: readonly number[] = [0x0403, 0x0401, 0x0804];
const SHA384: readonly number[] = [0x0503, 0x0501, 0x0805];
const SHA512: readonly number[] = [0x0603, 0x0601, 0x0806];
const ECDSA: readonly number[] = [0x0403, 0x0503, 0x0603];
const RSA_PSS: readonly number[] = [0x0804, 0x0805, 0x0806];
const RSA_SCHEMES: readonly number[] = [...RSA_PSS, 0x0401, 0x0501, 0x0601, 0x0301, 0x0201];

function keyTypeFor(hello: ClientHello, versions: readonly number[]): LeafKeyType {
  const older = versions.find((version) => version < VERSIONS["TLSv1.3"]);
  const possible = [
    ...(versions.includes(VERSIONS["TLSv1.3"]) ? [VERSIONS["TLSv1.3"]] : []),
    ...(older === undefined ? [] : [older]),
  ];
  if (possible.length === 0) return "rsa";
  if (possible.every((version) => canVerifyEcdsa(hello, version))) return "ecdsa";
  const best = possible.length === 1 ? undefined : keyTypeFor(hello, possible.slice(0, 1));
  if (possible.every((version) => canVerifyRsa(hello, version))) return "rsa";
  const [rare] = RARE_KINDS.find(([, kind]) => possible.every((version) => canVerify(kind, hello, version))) ?? [];
  // The client prefers the newest version, and so does the node.
  return rare ?? best ?? "rsa";
}

function canVerifyRsa({ cipherSuites, signatureAlgorithms }: ClientHello, version: number): boolean {
  if (version >= VERSIONS["TLSv1.3"]) return signatureAlgorithms.some((id) => RSA_PSS.includes(id));
  const suites = cipherSuites.map(suiteById).filter((suite) => suite && suite.auth === "rsa");
  if (version < VERSIONS["TLSv1.2"] || signatureAlgorithms.length === 0) return suites.length > 0;
  // With an exchange by RSA the server signs nothing.
  const signs = signatureAlgorithms.some((id) => RSA_SCHEMES.includes(id));
  return suites.some((suite) => suite?.exchange === "rsa" || signs);
}

function canVerify({ scheme, schemes12, group, auth }: LeafKind, hello: ClientHello, version: number): boolean {
  const { cipherSuites, signatureAlgorithms, supportedGroups } = hello;
  const has = (list: readonly number[]) => signatureAlgorithms.some((id) => list.includes(id));
  if (version >= VERSIONS["TLSv1.3"]) return has([scheme]);
  // Below TLS 1.2 no scheme is named, and only ECDSA on a curve has a suite.
  const isOld = version < VERSIONS["TLSv1.2"];
  if (isOld ? group === undefined || version < VERSIONS.TLSv1 : !has(schemes12)) return false;
  const hasSuite = cipherSuites.some((id) => {
    const suite = suiteById(id);
    return suite?.auth === auth && suite.exchange !== "rsa";
  });
  return hasSuite && (group === undefined || supportedGroups.includes(group));
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
