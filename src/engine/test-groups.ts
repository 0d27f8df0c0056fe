import { createHash } from "node:crypto";

/** For tests: a group of Diffie-Hellman over integers with so many bits, in PEM. Nobody tests whether its prime is one. */
export function diffieHellmanGroup(bits: number): string {
  const prime = Buffer.alloc(Math.ceil(bits / 8), createHash("sha512").update("prime").digest());
  prime[0] = 1 << ((bits - 1) % 8);
  prime[prime.length - 1]! |= 1;
  const number = Buffer.concat([Buffer.alloc(1), prime]);
  const der = (tag: number, content: Buffer) =>
    Buffer.concat([Buffer.from([tag, 0x82, content.length >> 8, content.length & 0xff]), content]);
  const sequence = der(0x30, Buffer.concat([der(0x02, number), Buffer.from([0x02, 1, 2])]));
  return `-----BEGIN DH PARAMETERS-----\n${sequence.toString("base64")}\n-----END DH PARAMETERS-----\n`;
}
