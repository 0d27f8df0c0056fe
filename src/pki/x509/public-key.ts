import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { malformed, readInside, TAG } from "./der.ts";

/** Public keys as SubjectPublicKeyInfo in DER: RFC 5280, section 4.1.2.7. */

/** The public key of a private or public key. */
export function publicKeyOf(key: KeyObject): Buffer {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ type: "spki", format: "der" });
}

/** RFC 5280, section 4.2.1.2, method 1: the SHA-1 of the key's bits. It names the key and protects nothing. */
export function keyIdentifier(publicKey: Buffer): Buffer {
  return createHash("sha1").update(keyBits(publicKey)).digest();
}

/** The contents of subjectPublicKey, without the algorithm. Throws PeerError. */
export function keyBits(publicKey: Buffer): Buffer {
  const [, bits] = readInside(publicKey, TAG.sequence, "subjectPublicKeyInfo");
  if (bits?.tag !== TAG.bitString) throw malformed("subjectPublicKey is not a BIT STRING");
  return bits.content.subarray(1);
}
