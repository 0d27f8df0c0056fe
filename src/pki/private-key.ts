import { createPrivateKey, type KeyObject } from "node:crypto";
import { ConfigError } from "../errors.ts";
import type { KeyType } from "./key-type.ts";

/**
 * Reads a private key of a kind that browsers accept a certificate of: RSA of 2048 bits or more, ECDSA on P-256, P-384
 * or P-521. Throws ConfigError with `path`, the place in the configuration or the file.
 */
export function readPrivateKey(path: string, pem: string): { readonly key: KeyObject; readonly keyType: KeyType } {
  const cannot = (why: string, options?: ErrorOptions): ConfigError =>
    new ConfigError(path, `Cannot use ${path}: ${why}`, options);
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw cannot("there is no private key in its key file");
  if (/-----BEGIN ENCRYPTED|^Proc-Type:.*ENCRYPTED/m.test(pem)) {
    throw cannot("its key is encrypted, and there is nobody to ask for the passphrase; give it decrypted");
  }
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    throw cannot("its private key cannot be read", { cause: error });
  }
  const { modulusLength = 0, namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa" && modulusLength >= 2048) return { key, keyType: "rsa" };
  if (["prime256v1", "secp384r1", "secp521r1"].includes(namedCurve)) return { key, keyType: "ecdsa" };
  throw cannot("its key is neither RSA of 2048 bits or more nor ECDSA on P-256, P-384 or P-521");
}
