import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";

/**
 * Where something that may be resumed is put away. Its name and its key are made from all that it is bound to: whoever asks for
 * anything else finds nothing, and could open nothing. Names tell those who store them neither clients nor hosts.
 */
export interface Seal {
  readonly name: string;
  seal(bytes: Uint8Array): Buffer;
  /** Undefined: these bytes were not sealed for this slot. */
  open(sealed: Uint8Array): Buffer | undefined;
}

/** The same parts, the same slot, for everyone with the same secret. `kind` keeps what is put away for different ends apart. */
export type Sealer = (kind: string, parts: readonly (string | number)[]) => Seal;

const CIPHER = "aes-256-gcm";
const IV = 12;
const TAG = 16;

/** `secret`: 32 bytes or more that nobody can guess. */
export function createSealer(secret: Uint8Array): Sealer {
  const key = deriveKey(secret, "slots");
  return (kind, parts) => {
    // Two halves that say nothing of each other. A key for each slot, so that no key meets more than a few nonces.
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
          decipher.final(); // throws unless every bit is as it was
          return bytes;
        } catch {
          return undefined;
        }
      },
    };
  };
}

/** One secret, many ends: RFC 5869. */
export function deriveKey(secret: Uint8Array, end: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "", `clearline ${end}`, 32));
}
