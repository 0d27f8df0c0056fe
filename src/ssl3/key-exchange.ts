import { constants, type KeyObject, privateDecrypt, publicEncrypt, sign, verify } from "node:crypto";
import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import type { Randoms } from "./derivation.ts";
import type { Random } from "./random.ts";

/** RSA key exchange, and the signature of ephemeral parameters: RFC 6101, sections 5.6.3 and 5.6.7. */

const PREMASTER = 48;
/** PKCS #1 v1.5: 00 02, at least eight bytes of padding, 00. */
const MIN_MODULUS = 2 + 8 + 1 + PREMASTER;
/** The limit of OpenSSL. */
const MAX_MODULUS = 16_384 / 8;

/** Makes a premaster secret, which contains the highest version that the client offered, and its ClientKeyExchange. */
export function encryptPremaster(
  key: KeyObject,
  offered: number,
  random: Random,
): { premaster: Buffer; message: Buffer } {
  const modulus = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  if (modulus < MIN_MODULUS || modulus > MAX_MODULUS) throw unusableKey();
  const premaster = Buffer.concat([Buffer.from([offered >> 8, offered & 0xff]), random(PREMASTER - 2)]);
  // All at once: a call for each byte costs more than the rest of the handshake. Zero would end the padding.
  const padding = random(modulus - PREMASTER - 3);
  for (let at = 0; at < padding.length; at += 1) while (padding[at] === 0) padding[at] = random(1)[0]!;
  const block = Buffer.concat([Buffer.from([0, 2]), padding, Buffer.from([0]), premaster]);
  try {
    // Unlike TLS, SSL 3.0 has no length field before it.
    return { premaster, message: publicEncrypt({ key, padding: constants.RSA_NO_PADDING }, block) };
  } catch {
    throw unusableKey();
  }
}

/** A certificate may contain any numbers, such as an even modulus. */
function unusableKey(): PeerError {
  return new PeerError("The key of the server's certificate cannot be used", ALERTS.bad_certificate);
}

/**
 * The premaster secret of a ClientKeyExchange. A wrong one is replaced by a random one, with the same steps, so that the
 * handshake fails at the Finished (Bleichenbacher; RFC 5246, section 7.4.7.1). The version inside must be the one that the
 * client offered: otherwise an attacker has lowered it.
 */
export function decryptPremaster(key: KeyObject, encrypted: Buffer, offered: number, random: Random): Buffer {
  const substitute = random(PREMASTER);
  const block = decryptBlock(key, encrypted);
  const at = block.length - PREMASTER;
  let wrong = block[0]! | (block[1]! ^ 2) | block[at - 1]!;
  // A zero before the last one: ((byte - 1) >> 8) is all ones for 0 alone.
  for (let i = 2; i < at - 1; i += 1) wrong |= ((block[i]! - 1) >> 8) & 1;
  wrong |= (block[at]! ^ (offered >> 8)) | (block[at + 1]! ^ (offered & 0xff));
  const keep = (wrong - 1) >> 31;
  for (let i = 0; i < PREMASTER; i += 1) substitute[i] = (block[at + i]! & keep) | (substitute[i]! & ~keep);
  return substitute;
}

/** OpenSSL refuses only faults that are public: a wrong length, or a number above the modulus. A block of zeros is wrong too. */
function decryptBlock(key: KeyObject, encrypted: Buffer): Buffer {
  try {
    return privateDecrypt({ key, padding: constants.RSA_NO_PADDING }, encrypted);
  } catch {
    return Buffer.alloc(MIN_MODULUS);
  }
}

/** Signs ServerKeyExchange parameters: MD5 and SHA-1 side by side with RSA, SHA-1 alone with ECDSA. */
export function signParams(key: KeyObject, randoms: Randoms, params: Uint8Array): Buffer {
  return sign(hashFor(key), Buffer.concat([randoms.client, randoms.server, params]), key);
}

/** Throws PeerError unless the owner of the certificate's key signed these parameters for this handshake. */
export function verifyParams(key: KeyObject, randoms: Randoms, params: Uint8Array, signature: Uint8Array): void {
  let good: boolean;
  try {
    good = verify(hashFor(key), Buffer.concat([randoms.client, randoms.server, params]), key, signature);
  } catch {
    throw unusableKey();
  }
  if (!good) {
    throw new PeerError(
      "The server's key exchange is not signed with the key of its certificate",
      ALERTS.decrypt_error,
    );
  }
}

function hashFor(key: KeyObject): string {
  return key.asymmetricKeyType === "rsa" ? "md5-sha1" : "sha1";
}
