import { createHash, hash } from "node:crypto";

/** `size` of a digest and `pad` of the padding strings, in bytes: RFC 6101, section 5.2.3.1. */
export const MACS = { md5: { size: 16, pad: 48 }, sha1: { size: 20, pad: 40 } } as const;

export type MacName = keyof typeof MACS;

/** `sequence` is the record's number in its direction, from 0. */
export type Mac = (sequence: number, contentType: number, content: Uint8Array) => Buffer;

/** The MAC of SSL 3.0: hash(secret + pad2 + hash(secret + pad1 + sequence + type + length + content)). */
export function createMac(name: MacName, secret: Uint8Array): Mac {
  const { pad } = MACS[name];
  const inner = Buffer.concat([secret, Buffer.alloc(pad, PAD_1), Buffer.alloc(HEADER)]);
  const outer = Buffer.concat([secret, Buffer.alloc(pad, PAD_2)]);
  const header = inner.length - HEADER;
  return (sequence, contentType, content) => {
    // The field has 64 bits. A number has 53, enough for centuries of one-byte records.
    inner.writeUInt32BE(Math.floor(sequence / 2 ** 32), header);
    inner.writeUInt32BE(sequence % 2 ** 32, header + 4);
    inner.writeUInt8(contentType, header + 8);
    inner.writeUInt16BE(content.length, header + 9);
    return digest(name, outer, createHash(name).update(inner).update(content).digest());
  };
}

/** The hash of a few short pieces. A handshake takes dozens: a `Hash` for each would cost more than the hashing. */
export function digest(name: MacName, ...pieces: readonly Uint8Array[]): Buffer {
  return hash(name, Buffer.concat(pieces), "buffer");
}

/**
 * Runs the rounds of the hash that a record's MAC saved because of its padding, so that the time does not show the length of
 * the padding (Lucky Thirteen, CVE-2013-0169). `content` and `longest` are lengths in bytes. JavaScript gives no promise
 * below that.
 */
export function evenOut(name: MacName, content: number, longest: number): void {
  hash(name, FILLING.subarray(0, lackingBytes(name, content, longest)), "buffer");
}

/** How many more bytes must be hashed for the rounds of the longest content. */
export function lackingBytes(name: MacName, content: number, longest: number): number {
  const { size, pad } = MACS[name];
  const prefix = size + pad + HEADER;
  return (rounds(prefix + longest) - rounds(prefix + content)) * BLOCK;
}

/** Rounds of MD5 or SHA-1 for so many bytes: at least 9 more follow, in blocks of 64. */
function rounds(length: number): number {
  return Math.floor((length + 8) / BLOCK) + 1;
}

const PAD_1 = 0x36;
const PAD_2 = 0x5c;
const HEADER = 8 + 1 + 2;
const BLOCK = 64;
const FILLING = Buffer.alloc(2 * BLOCK);
