import { createPrivateKey, type KeyObject } from "node:crypto";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";

/** The kinds of keys that the node holds for servers; of the last it issues no certificates, for browsers verify none. */
export type HeldKeyType = KeyType | "ed25519";

/**
 * Reads a private key, encrypted or not: RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, Ed25519. Throws
 * ConfigError with `path`, the place in the configuration or the file.
 */
export function readPrivateKey(
  path: string,
  pem: string,
  passphrase?: string,
): { readonly key: KeyObject; readonly keyType: HeldKeyType } {
  const cannot = (why: string, options?: ErrorOptions): ConfigError =>
    new ConfigError(path, `Cannot use ${path}: ${why}`, options);
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw cannot("there is no private key in its key file");
  const encrypted = isEncrypted(pem);
  if (encrypted && passphrase === undefined) {
    throw cannot("its key is encrypted, and no passphraseFile says under what passphrase");
  }
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, ...(encrypted && { passphrase }) });
  } catch (error) {
    const why = encrypted
      ? "its key cannot be decrypted: the passphrase is wrong, or OpenSSL no longer has the cipher"
      : "its private key cannot be read";
    throw cannot(why, { cause: error });
  }
  const { modulusLength = 0, namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa" && modulusLength >= 2048) return { key, keyType: "rsa" };
  if (key.asymmetricKeyType === "ed25519") return { key, keyType: "ed25519" };
  if (["prime256v1", "secp384r1", "secp521r1"].includes(namedCurve)) return { key, keyType: "ecdsa" };
  throw cannot("its key is neither RSA of 2048 bits or more nor ECDSA on P-256, P-384 or P-521 nor Ed25519");
}

/** Reads a CA's private key: of a kind that browsers accept a certificate of. Throws ConfigError like `readPrivateKey`. */
export function readSigningKey(
  path: string,
  pem: string,
  passphrase?: string,
): { readonly key: KeyObject; readonly keyType: KeyType } {
  const { key, keyType } = readPrivateKey(path, pem, passphrase);
  if (keyType !== "ed25519") return { key, keyType };
  throw new ConfigError(path, `Cannot use ${path}: its key is Ed25519, whose certificates browsers do not verify`);
}

/** Whether a private key in PEM is encrypted, as PKCS#8 or in the older form: RFC 1421, section 4.6.1.1. */
export function isEncrypted(pem: string): boolean {
  return /-----BEGIN ENCRYPTED|^Proc-Type:.*ENCRYPTED/m.test(pem);
}
