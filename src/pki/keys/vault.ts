import { createHash, createPrivateKey, randomBytes } from "node:crypto";
import { ConfigError, PeerError } from "../../errors.ts";
import { toPem } from "../x509/certificate.ts";
import { encode, readElements, readInside, TAG } from "../x509/der.ts";
import { type Derive, decryptUnderPassword, deriveFrom, encryptUnderPassword } from "./password-encryption.ts";
import { isEncrypted } from "./private-key.ts";

/** What the user keeps keys under: a passphrase, or a file of random bytes (as base64). `path`: "keyStore.passphraseFile". */
export interface StoreSecret {
  readonly kind: "passphrase" | "keyFile";
  readonly text: string;
  readonly path: string;
}

export interface StoreSecrets {
  /** Undefined: keys lie on the disk unencrypted, in files that only their owner may read. */
  readonly current?: StoreSecret | undefined;
  /** Under which files may still be encrypted. */
  readonly former?: StoreSecret | undefined;
}

/** How the node's private keys lie on the disk. */
export interface Vault {
  /** A private key in PEM as it is to be written. */
  seal(keyPem: string): string;
  /**
   * A private key as it was read. `stale`: it is not under the current secret, so write it again. Throws ConfigError,
   * naming the file, when no secret opens it.
   */
  open(path: string, keyPem: string): { readonly keyPem: string; readonly stale: boolean };
}

/** OWASP's advice for PBKDF2 with HMAC-SHA-256: some tenths of a second. */
const ITERATIONS = 600_000;

/**
 * Makes the vault. Files are PKCS#8 under PBES2, so that openssl reads them, too. All of a secret's files have one salt
 * and each its own initialization vector: a thousand keys then cost one derivation and not a thousand.
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
        ? `what ${current.path} names does not open it; if it was another before, name that in keyStore.former`
        : "it is encrypted, and neither keyStore.passphraseFile nor keyStore.keyFile says under what";
      throw new ConfigError(path, `Cannot read the private key in ${path}: ${why}`);
    },
  };
}

/** For a node without a secret. */
export const OPEN_VAULT: Vault = createVault({});

const SEALED = "ENCRYPTED PRIVATE KEY";

/** The key in PEM; undefined: the password is wrong, or something else wrote this. */
function tryOpen(pem: string, password: string, derive: Derive): string | undefined {
  const base64 = new RegExp(`-----BEGIN ${SEALED}-----([^-]+)-----END`).exec(pem)?.[1] ?? "";
  try {
    const [algorithm, data] = readInside(Buffer.from(base64, "base64"), TAG.sequence);
    if (!algorithm || !data) return undefined;
    const der = decryptUnderPassword(algorithm.whole, data.content, password, derive);
    // The padding of a wrong password's nonsense is right once in 256 times, but then it is no key.
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

/** A file may hold any bytes, which openssl would not take for a passphrase: the digits of its SHA-256 are one. */
function passwordOf({ kind, text }: StoreSecret): string {
  return kind === "passphrase" ? text : createHash("sha256").update(Buffer.from(text, "base64")).digest("hex");
}

const SHORTEST_PASSPHRASE = 12;
const SHORTEST_KEY_FILE = 32;

/** Secrets that would protect nothing. */
export function checkSecrets({ current, former }: StoreSecrets): ConfigError[] {
  return [current, former].flatMap((secret) => {
    if (!secret) return [];
    const { kind, text, path } = secret;
    const isShort =
      kind === "passphrase" ? text.length < SHORTEST_PASSPHRASE : Buffer.byteLength(text, "base64") < SHORTEST_KEY_FILE;
    const limit =
      kind === "passphrase" ? `${SHORTEST_PASSPHRASE} characters` : `${SHORTEST_KEY_FILE} bytes; take random ones`;
    return isShort && secret !== former
      ? [new ConfigError(path, `Cannot use ${path}: what it names is shorter than ${limit}`)]
      : [];
  });
}
