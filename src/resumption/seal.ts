import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";

/**
 * A name and a key, both made from everything that a session is bound to. With anything else the name differs, so nothing is found,
 * and the key differs, so nothing opens. The name says nothing of clients and hosts.
 */
export interface Seal {
  readonly name: string;
  seal(bytes: Uint8Array): Buffer;
  /** Undefined when these bytes were not sealed with this seal. */
  open(sealed: Uint8Array): Buffer | undefined;
}

/** Makes a seal: the same one from the same secret, kind and parts. `kind` separates the purposes. */
export type Sealer = (kind: string, parts: readonly (string | number)[]) => Seal;

const CIPHER = "aes-256-gcm";
const IV = 12;
const TAG = 16;

/** `secret`: 32 bytes or more that nobody can guess. */
export function createSealer(secret: Uint8Array): Sealer {
  const key = deriveKey(secret, "slots");
  return (kind, parts) => {
    // The halves reveal nothing of each other. Each seal has its own key, so that no key is used with more than a few nonces.
    const both = createHmac("sha512", key)
      .update(JSON.stringify([kind, ...parts]))
      .digest();
    const own = both.subarray(32);
    return {
      name: both.toString("base64url", 0, 32),
      seal(bytes) {
        const iv = randomBytes(IV);
        const cipher = createCipheriv(CIPHER, own, iv);
        const body = cipher.update(bytes);
        cipher.final(); // nothing is left in counter mode
        return Buffer.concat([iv, cipher.getAuthTag(), body]);
      },
      open(sealed) {
        if (sealed.length < IV + TAG) return undefined;
        const decipher = createDecipheriv(CIPHER, own, sealed.subarray(0, IV), { authTagLength: TAG });
        decipher.setAuthTag(sealed.subarray(IV, IV + TAG));
        try {
          const bytes = decipher.update(sealed.subarray(IV + TAG));
          decipher.final(); // throws when a bit has changed
          return bytes;
        } catch {
          return undefined;
        }
      },
    };
  };
}

/** Derives a key for one purpose from a secret: RFC 5869. */
export function deriveKey(secret: Uint8Array, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "", `clearline ${purpose}`, 32));
}
