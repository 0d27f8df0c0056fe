import { createHash, type X509Certificate } from "node:crypto";

/** Fingerprints and serial numbers as records, the API and file names have them: lower-case hex without colons. */

/** The SHA-256 of the certificate's DER. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(":", "").toLowerCase();
}

export function serialNumberOf(certificate: X509Certificate): string {
  return certificate.serialNumber.toLowerCase();
}

export function sha256(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
