import { createHash } from "node:crypto";

/** `size` of a digest and `pad` of the padding strings, in bytes: RFC 6101, section 5.2.3.1. */
export const MACS = { md5: { size: 16, pad: 48 }, sha1: { size: 20, pad: 40 } } as const;

export type MacName = keyof typeof MACS;

/** `sequence` is the record's number in its direction, from 0. */
export type Mac = (sequence: number, contentType: number, content: Uint8Array) => Buffer;

/** The MAC of SSL 3.0, HMAC's forerunner: hash(secret + pad2 + hash(secret + pad1 + sequence + type + length + content)). */
export function createMac(name: MacName, secret: Uint8Array): Mac {
  const { pad } = MACS[name];
  const inner = Buffer.concat([secret, Buffer.alloc(pad, PAD_1), Buffer.alloc(HEADER)]);
  const outer = Buffer.concat([secret, Buffer.alloc(pad, PAD_2)]);
  const header = inner.length - HEADER;
  return (sequence, contentType, content) => {
    // A record number fills 64 bits; 2^53 records of one byte would take centuries.
    inner.writeUInt32BE(Math.floor(sequence / 2 ** 32), header);
    inner.writeUInt32BE(sequence % 2 ** 32, header + 4);
    inner.writeUInt8(contentType, header + 8);
    inner.writeUInt16BE(content.length, header + 9);
    const digest = createHash(name).update(inner).update(content).digest();
    return createHash(name).update(outer).update(digest).digest();
  };
}

/**
 * Does as many rounds of the hash as a record's MAC lacks: how long the padding was must not show in the time that the
 * MAC took (Lucky Thirteen, CVE-2013-0169). `content` and `longest` are lengths in bytes. What is left is JavaScript's own
 * noise, which nobody controls.
 */
export function evenOut(name: MacName, content: number, longest: number): void {
  createHash(name)
    .update(FILLING.subarray(0, lackingBytes(name, content, longest)))
    .digest();
}

/** How many bytes more must be hashed for as many rounds as the longest content needs; of no bytes there is one round. */
export function lackingBytes(name: MacName, content: number, longest: number): number {
  const { size, pad } = MACS[name];
  const prefix = size + pad + HEADER;
  return (rounds(prefix + longest) - rounds(prefix + content)) * BLOCK;
}

/** Rounds of MD5 or SHA-1 for so many bytes: they are followed by 9 at least, in blocks of 64. */
function rounds(length: number): number {
  return Math.floor((length + 8) / BLOCK) + 1;
}

const PAD_1 = 0x36;
const PAD_2 = 0x5c;
const HEADER = 8 + 1 + 2;
const BLOCK = 64;
const FILLING = Buffer.alloc(2 * BLOCK);
