import type { X509Certificate } from "node:crypto";

/** Whether the issuer's name, key identifier and key match the certificate. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && verifies(certificate, issuer);
}

function verifies(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    // OpenSSL does not know the kind of key.
    return false;
  }
}

export function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}
