import { X509Certificate } from "node:crypto";
import { ConfigError } from "../../errors.ts";

/** PEM, the textual encoding of RFC 7468: everything that reads or writes it. */

/** One certificate of a PEM text. */
export interface PemCertificate {
  readonly pem: string;
  readonly certificate: X509Certificate;
}

/**
 * Reads the certificates in a PEM text, in order; there is at least one. `path` is the file, or the place in the
 * configuration that names it. Throws ConfigError.
 */
export function readCertificates(path: string, text: string): [PemCertificate, ...PemCertificate[]] {
  const [first, ...others] = splitPem(text).map((pem, index) => {
    try {
      return { pem, certificate: new X509Certificate(pem) };
    } catch (error) {
      throw new ConfigError(path, `Cannot use ${path}: certificate ${index + 1} cannot be read`, { cause: error });
    }
  });
  if (!first) throw new ConfigError(path, `Cannot use ${path}: it has no PEM certificate`);
  const begun = text.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
  if (begun > others.length + 1)
    throw new ConfigError(
      path,
      `Cannot use ${path}: one of its ${begun} certificates has no end; the file may be cut off`,
    );
  return [first, ...others];
}

/** The certificates in a PEM text, in order, one string each. Text around them is skipped. */
export function splitPem(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)?.map((block) => `${block}\n`) ?? [];
}

/** Whether the text has a private key, encrypted or not. */
export function hasPrivateKey(text: string): boolean {
  return /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text);
}

/** Whether a private key is encrypted, as PKCS#8 or in the older form: RFC 1421, section 4.6.1.1. */
export function isEncrypted(text: string): boolean {
  return /-----BEGIN ENCRYPTED|^Proc-Type:.*ENCRYPTED/m.test(text);
}

/** The DER of the first block with this label. Empty when there is none. */
export function fromPem(text: string, label: string): Buffer {
  const base64 = new RegExp(`-----BEGIN ${label}-----([^-]+)-----END ${label}-----`).exec(text)?.[1] ?? "";
  return Buffer.from(base64, "base64");
}

/** `label`: the kind of content, as in "CERTIFICATE". */
export function toPem(der: Buffer, label = "CERTIFICATE"): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
