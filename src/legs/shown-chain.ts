import { type AsymmetricKeyDetails, hash, X509Certificate } from "node:crypto";
import { Cache } from "../cache.ts";
import type { KeyUse } from "../pki/verify/strictness.ts";

/** The certificates that a server has shown, its own first. Sessions with the same server share them. */
export interface ShownCertificates {
  readonly chain: readonly [X509Certificate, ...X509Certificate[]];
  /** In DER. */
  readonly ders: readonly Buffer[];
  /** Names these bytes. */
  readonly key: string;
}

/** What a certificate takes that has been read, with its record (measured): this, and ten times its DER. */
const [CERTIFICATE_BYTES, DER_FACTOR] = [12_000, 10];

/** Reading a certificate costs more than opening a session, and a busy server shows the same ones. */
const shown = new Cache<ShownCertificates>({
  ...{ entries: 500, bytes: 48 * 2 ** 20 },
  sizeOf: ({ ders }) => ders.reduce((sum, { length }) => sum + CERTIFICATE_BYTES + DER_FACTOR * length, 0),
});
/** What the server's key does in a handshake with this suite, by IANA's name. */
export function keyUseOf(suite: string): KeyUse {
  return suite.startsWith("TLS_RSA_") || suite.startsWith("SSL_RSA_") ? "encipher" : "sign";
}

/** Far more than an honest server needs. */
const MAX_CHAIN = 32;
/** RSA keys beyond these bounds make each verification take many milliseconds. Chromium's and Go's bounds are the same or lower. */
const [MOST_MODULUS_BITS, MOST_EXPONENT] = [8_192, 2n ** 33n];

/**
 * Reads what a server has shown, in DER. Undefined: it showed none, or its own cannot be used; of the others those that can be used
 * count.
 */
export function readShown(ders: readonly Buffer[]): ShownCertificates | undefined {
  const given = ders.slice(0, MAX_CHAIN);
  const key = hash("sha256", Buffer.concat(given), "base64url");
  const known = shown.find(key);
  if (known) return known;
  const certificates = given.map(readCertificate);
  const [leaf, ...sent] = certificates;
  if (!leaf) return undefined;
  const used = given.filter((_, index) => certificates[index] !== undefined);
  const read = { chain: [leaf, ...sent.filter((one) => one !== undefined)] as const, ders: used, key };
  shown.keep(key, read as ShownCertificates);
  return read as ShownCertificates;
}

function readCertificate(der: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(der);
    return isCostly(certificate) ? undefined : certificate;
  } catch {
    return undefined;
  }
}

/** A key that OpenSSL cannot read costs nothing: nothing is verified with it. */
function isCostly(certificate: X509Certificate): boolean {
  let details: AsymmetricKeyDetails | undefined;
  try {
    details = certificate.publicKey.asymmetricKeyDetails;
  } catch {
    return false;
  }
  const { modulusLength = 0, publicExponent = 0n } = details ?? {};
  return modulusLength > MOST_MODULUS_BITS || publicExponent >= MOST_EXPONENT;
}
