import { createCipheriv, createDecipheriv } from "node:crypto";
import { createRc4 } from "./rc4.ts";

/** Sizes in bytes: RFC 6101, appendix C. `block` 1 means a stream cipher, whose records have no padding. */
export const CIPHERS = {
  "aes-128-cbc": { key: 16, block: 16 },
  "aes-256-cbc": { key: 32, block: 16 },
  "des-ede3-cbc": { key: 24, block: 8 },
  rc4: { key: 16, block: 1 },
} as const;

export type CipherName = keyof typeof CIPHERS;

/** Encrypts or decrypts whole blocks, maybe in place: the caller gives the bytes away. */
export type BulkCipher = (bytes: Buffer) => Buffer;

export function createEncryptor(name: CipherName, key: Uint8Array, iv: Uint8Array): BulkCipher {
  return name === "rc4" ? streamed(key) : chained(createCipheriv(name, key, iv));
}

export function createDecryptor(name: CipherName, key: Uint8Array, iv: Uint8Array): BulkCipher {
  return name === "rc4" ? streamed(key) : chained(createDecipheriv(name, key, iv));
}

/** The IV of a record is the last block of the record before (RFC 6101, section 5.2.3.2), so all records are one CBC stream. */
function chained(cipher: ReturnType<typeof createCipheriv> | ReturnType<typeof createDecipheriv>): BulkCipher {
  cipher.setAutoPadding(false);
  return (bytes) => cipher.update(bytes);
}

function streamed(key: Uint8Array): BulkCipher {
  const apply = createRc4(key);
  return (bytes) => {
    apply(bytes);
    return bytes;
  };
}
