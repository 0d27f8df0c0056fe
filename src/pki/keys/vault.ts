import { createPrivateKey, randomBytes } from "node:crypto";
import { ConfigError, PeerError } from "../../errors.ts";
import { encode, readElements, readInside, TAG } from "../x509/der.ts";
import { sha256 } from "../x509/fingerprint.ts";
import { fromPem, isEncrypted, toPem } from "../x509/pem.ts";
import { type Derive, decryptUnderPassword, deriveFrom, encryptUnderPassword } from "./password-encryption.ts";

/** The secret that encrypts the node's private keys on the disk: a passphrase, or a file of random bytes in base64. */
export interface StoreSecret {
  readonly kind: "passphrase" | "keyFile";
  readonly text: string;
  /** "keyStore.passphraseFile". */
  readonly path: string;
}

export interface StoreSecrets {
  /** Undefined: keys are not encrypted. */
  readonly current?: StoreSecret | undefined;
  /** Older files may still be encrypted with this one. */
  readonly former?: StoreSecret | undefined;
}

/** Encrypts the node's private keys for the disk and decrypts them. */
export interface Vault {
  /** Encrypts a private key in PEM, if there is a current secret. */
  seal(keyPem: string): string;
  /**
   * Decrypts a private key that was read from the file `path`. `stale`: it is not encrypted with the current secret, so
   * the caller should write it again. Throws ConfigError when no secret decrypts it.
   */
  open(path: string, keyPem: string): { readonly keyPem: string; readonly stale: boolean };
}

/** OWASP's recommendation for PBKDF2 with HMAC-SHA-256: takes some tenths of a second. */
const ITERATIONS = 600_000;

/**
 * Files are PKCS#8 with PBES2, so that openssl can read them. All files of a secret have the same salt, each has its own
 * initialization vector: a thousand keys need one key derivation instead of a thousand.
 */
export function createVault({ current, former }: StoreSecrets): Vault {
  let salt: Buffer | undefined;
  const own = current && rememberDerived(passwordOf(current), (used) => (salt = used));
  const openers = [
    ...(current && own ? [{ password: passwordOf(current), derive: own, stale: false }] : []),
    ...(former ? [{ password: passwordOf(former), derive: rememberDerived(passwordOf(former)), stale: true }] : []),
  ];
  return {
    seal(keyPem) {
      if (!own) return keyPem;
      salt ??= randomBytes(16);
      const der = createPrivateKey(keyPem).export({ type: "pkcs8", format: "der" });
      return toPem(encode(TAG.sequence, encryptUnderPassword(der, salt, ITERATIONS, own)), SEALED);
    },
    open(path, keyPem) {
      if (!isEncrypted(keyPem)) return { keyPem, stale: own !== undefined };
      for (const { password, derive, stale } of openers) {
        const opened = tryOpen(keyPem, password, derive);
        if (opened !== undefined) return { keyPem: opened, stale };
      }
      const why = current
        ? `the secret in ${current.path} is wrong; if it was changed, give the former one in keyStore.former`
        : "give its secret in keyStore.passphraseFile or keyStore.keyFile";
      throw new ConfigError(path, `Cannot decrypt the private key in ${path}: ${why}`);
    },
  };
}

/** The vault of a node without a secret. */
export const PLAIN_VAULT: Vault = createVault({});

const SEALED = "ENCRYPTED PRIVATE KEY";

/** The key in PEM; undefined when the password is wrong or the file was not written by a vault. */
function tryOpen(pem: string, password: string, derive: Derive): string | undefined {
  try {
    const [algorithm, data] = readInside(fromPem(pem, SEALED), TAG.sequence, "EncryptedPrivateKeyInfo");
    if (!algorithm || !data) return undefined;
    const der = decryptUnderPassword(algorithm.whole, data.content, password, derive);
    // With a wrong password the padding is still right once in 256 times, but the result is not a key.
    if (readElements(der)[0]?.tag !== TAG.sequence) return undefined;
    createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    return toPem(der, "PRIVATE KEY");
  } catch (error) {
    const isExpected =
      error instanceof ConfigError ||
      error instanceof PeerError ||
      (error instanceof Error && "code" in error && String(error.code).startsWith("ERR_OSSL"));
    if (!isExpected) throw error;
    return undefined;
  }
}

/** `onSalt` is called with the salts of files that the node wrote. */
function rememberDerived(password: string, onSalt?: (salt: Buffer) => void): Derive {
  const derived = new Map<string, Buffer>();
  const derive = deriveFrom(password);
  return (hash, salt, iterations, length) => {
    const name = [hash, salt.toString("hex"), iterations, length].join(" ");
    const key = derived.get(name) ?? derive(hash, salt, iterations, length);
    derived.set(name, key);
    if (iterations === ITERATIONS) onSalt?.(Buffer.from(salt));
    return key;
  };
}

/** openssl does not accept arbitrary bytes as a passphrase, so a key file's passphrase is the hex of its SHA-256. */
function passwordOf({ kind, text }: StoreSecret): string {
  return kind === "passphrase" ? text : sha256(Buffer.from(text, "base64"));
}

const MIN_PASSPHRASE = 12;
const MIN_KEY_FILE = 32;

/** The error of a current secret that is too short. A former one must be accepted as it is. */
export function checkSecrets({ current }: StoreSecrets): ConfigError[] {
  if (!current) return [];
  const { kind, text, path } = current;
  const isPassphrase = kind === "passphrase";
  const isShort = isPassphrase ? text.length < MIN_PASSPHRASE : Buffer.byteLength(text, "base64") < MIN_KEY_FILE;
  const limit = isPassphrase ? `${MIN_PASSPHRASE} characters` : `${MIN_KEY_FILE} bytes; take random ones`;
  return isShort ? [new ConfigError(path, `Cannot use ${path}: the secret is shorter than ${limit}`)] : [];
}
