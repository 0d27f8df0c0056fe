import { createPrivateKey, generateKeyPair, type KeyObject } from "node:crypto";
import { promisify } from "node:util";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { hasPrivateKey, isEncrypted } from "../x509/pem.ts";

/** The types of the keys that the user may give for servers. The node issues no Ed25519 certificates: no browser verifies them. */
export type HeldKeyType = KeyType | "ed25519";

/**
 * Reads a private key in PEM: RSA of at least 2048 bits, ECDSA on P-256, P-384 or P-521, Ed25519. `path` is the file, or
 * the place in the configuration that names it. Throws ConfigError.
 */
export function readPrivateKey(
  path: string,
  pem: string,
  passphrase?: string,
): { readonly key: KeyObject; readonly keyType: HeldKeyType } {
  const cannot = (why: string, options?: ErrorOptions): ConfigError =>
    new ConfigError(path, `Cannot use ${path}: ${why}`, options);
  if (!hasPrivateKey(pem)) throw cannot("it has no PEM private key");
  const encrypted = isEncrypted(pem);
  if (encrypted && passphrase === undefined) throw cannot("its key is encrypted, and no passphrase is given");
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, ...(encrypted && { passphrase }) });
  } catch (error) {
    const why = encrypted
      ? "its key cannot be decrypted: the passphrase is wrong, or OpenSSL does not support the cipher any more"
      : "its private key cannot be read";
    throw cannot(why, { cause: error });
  }
  const { modulusLength = 0, namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa" && modulusLength >= 2048) return { key, keyType: "rsa" };
  if (key.asymmetricKeyType === "ed25519") return { key, keyType: "ed25519" };
  if (["prime256v1", "secp384r1", "secp521r1"].includes(namedCurve)) return { key, keyType: "ecdsa" };
  throw cannot("its key is neither RSA of at least 2048 bits nor ECDSA on P-256, P-384 or P-521 nor Ed25519");
}

/** Reads the private key of a CA: RSA or ECDSA. Throws ConfigError like `readPrivateKey`. */
export function readSigningKey(
  path: string,
  pem: string,
  passphrase?: string,
): { readonly key: KeyObject; readonly keyType: KeyType } {
  const { key, keyType } = readPrivateKey(path, pem, passphrase);
  if (keyType !== "ed25519") return { key, keyType };
  throw new ConfigError(path, `Cannot use ${path}: its key is Ed25519, and browsers do not verify its signatures`);
}

const generate = promisify(generateKeyPair);

/** Makes a private key: ECDSA P-256, RSA-2048 or Ed25519. */
export async function makePrivateKey(keyType: HeldKeyType): Promise<KeyObject> {
  switch (keyType) {
    case "ecdsa":
      return (await generate("ec", { namedCurve: "P-256" })).privateKey;
    case "rsa":
      return (await generate("rsa", { modulusLength: 2048, publicExponent: 65537 })).privateKey;
    case "ed25519":
      return (await promisify(generateKeyPair)("ed25519", {})).privateKey;
  }
}

/** A private key in PEM: PKCS#8, not encrypted. */
export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}
