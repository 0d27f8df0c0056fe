import type { X509Certificate } from "node:crypto";
import { readCertificate } from "./certificate.ts";
import { readScheme } from "./signature.ts";

/** Which keys and signatures are strong enough for a browser. OpenSSL's security level 0 accepts weaker ones. */

const CURVES = new Set(
  "prime256v1 secp384r1 secp521r1 secp256k1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1".split(" "),
);

/**
 * RSA of at least 2048 bits, ECDSA on a named curve, Ed25519, Ed448, ML-DSA or SLH-DSA. Curves with explicit parameters are refused: a
 * forger could choose parameters under which he knows the private key (CVE-2020-0601).
 */
export function hasStrongKey(certificate: X509Certificate): boolean {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails: details } = certificate.publicKey;
    if (asymmetricKeyType === "rsa" || asymmetricKeyType === "rsa-pss") return (details?.modulusLength ?? 0) >= 2048;
    if (asymmetricKeyType === "ec") return CURVES.has(details?.namedCurve ?? "");
    return /^(?:ed25519|ed448|(?:ml|slh)-dsa-.*)$/.test(asymmetricKeyType ?? "");
  } catch {
    // OpenSSL does not know the kind of key.
    return false;
  }
}

/** Throws PeerError when the certificate is not X.509 in DER. */
export function hasStrongSignature(certificate: X509Certificate): boolean {
  return readScheme(readCertificate(certificate.raw).signatureAlgorithm) !== undefined;
}
