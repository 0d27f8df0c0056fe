import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";

/**
 * How what may be resumed is put away. Its name is made from all that it is bound to, and its key from its name: whoever asks
 * for anything else finds nothing, and could open nothing. Names tell those who store them neither clients nor hosts.
 */
export interface Sealer {
  /** The same parts, the same name. `kind` keeps what is put away for different ends apart. */
  name(kind: string, parts: readonly (string | number | Uint8Array)[]): string;
  seal(name: string, bytes: Uint8Array): Buffer;
  /** Undefined: these bytes were not sealed under this name and secret. */
  open(name: string, sealed: Uint8Array): Buffer | undefined;
}

const CIPHER = "aes-256-gcm";
const IV = 12;
const TAG = 16;

/** `secret`: 32 bytes or more that nobody can guess. */
export function createSealer(secret: Uint8Array): Sealer {
  const naming = deriveKey(secret, "names");
  const sealing = deriveKey(secret, "seals");
  // A key for each name: however many are sealed, no key sees more than the few nonces that were drawn for one name.
  const keyOf = (name: string) => createHmac("sha256", sealing).update(name).digest();
  return {
    name(kind, parts) {
      const hash = createHmac("sha256", naming);
      for (const part of [kind, ...parts]) {
        const bytes = typeof part === "object" ? part : Buffer.from(String(part));
        const length = Buffer.alloc(4);
        length.writeUInt32BE(bytes.length);
        hash.update(length).update(bytes);
      }
      return hash.digest("base64url");
    },
    seal(name, bytes) {
      const iv = randomBytes(IV);
      const cipher = createCipheriv(CIPHER, keyOf(name), iv);
      const body = Buffer.concat([cipher.update(bytes), cipher.final()]);
      return Buffer.concat([iv, cipher.getAuthTag(), body]);
    },
    open(name, sealed) {
      if (sealed.length < IV + TAG) return undefined;
      const decipher = createDecipheriv(CIPHER, keyOf(name), sealed.subarray(0, IV), { authTagLength: TAG });
      decipher.setAuthTag(sealed.subarray(IV, IV + TAG));
      try {
        return Buffer.concat([decipher.update(sealed.subarray(IV + TAG)), decipher.final()]);
      } catch {
        return undefined;
      }
    },
  };
}

/** One secret, many ends: RFC 5869. */
export function deriveKey(secret: Uint8Array, end: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "", `clearline ${end}`, 32));
}
