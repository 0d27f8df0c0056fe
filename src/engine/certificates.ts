import { addressOf, crypto, memory } from "./native.ts";

/** Where OpenSSL's reading or writing begins. */
const cursor = memory(8);

/** Reads a certificate in DER; 0: it is not X.509. The caller frees it. */
export function decodeCertificate(der: Buffer): number {
  const bytes = memory(der.length);
  der.copy(bytes);
  cursor.writeBigUInt64LE(BigInt(addressOf(bytes)));
  const certificate = crypto.d2i_X509(0, cursor, bytes.length);
  // Used once more, so that it cannot be collected while OpenSSL reads it.
  bytes.fill(0);
  return certificate;
}

export function encodeCertificate(certificate: number): Buffer {
  const bytes = memory(crypto.i2d_X509(certificate, null));
  cursor.writeBigUInt64LE(BigInt(addressOf(bytes)));
  crypto.i2d_X509(certificate, cursor);
  return bytes;
}
