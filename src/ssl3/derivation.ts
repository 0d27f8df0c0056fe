import { createHash, type Hash } from "node:crypto";
import type { Side } from "../vocabulary.ts";
import { CIPHERS } from "./bulk-cipher.ts";
import { digest, MACS, type MacName } from "./mac.ts";
import type { Suite } from "./suites.ts";

/** The 32 random bytes of each side. */
export interface Randoms {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
}

/** The keys of one direction. */
export interface WriteKeys {
  readonly macSecret: Buffer;
  readonly key: Buffer;
  readonly iv: Buffer;
}

/** The master secret of 48 bytes: RFC 6101, section 6.1. */
export function masterSecret(premaster: Uint8Array, { client, server }: Randoms): Buffer {
  return expand(premaster, [client, server], 48);
}

/** The keys of both directions: RFC 6101, section 6.2.2. Here the server's random comes first. */
export function writeKeys(master: Uint8Array, { client, server }: Randoms, suite: Suite): Record<Side, WriteKeys> {
  const mac = MACS[suite.mac].size;
  const { key, block } = CIPHERS[suite.cipher];
  const iv = block === 1 ? 0 : block;
  const bytes = expand(master, [server, client], 2 * (mac + key + iv));
  let at = 0;
  const take = (length: number) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  const [macs, keys, ivs] = [mac, key, iv].map((length) => ({ client: take(length), server: take(length) }));
  const of = (side: Side) => ({ macSecret: macs![side], key: keys![side], iv: ivs![side] });
  return { client: of("client"), server: of("server") };
}

/** MD5(secret + SHA("A" + secret + randoms)) + MD5(secret + SHA("BB" + …)) + …, up to this length. */
function expand(secret: Uint8Array, randoms: readonly Uint8Array[], length: number): Buffer {
  const parts: Buffer[] = [];
  for (let round = 0; parts.length * MACS.md5.size < length; round += 1) {
    const letters = Buffer.alloc(round + 1, 0x41 + round);
    const inner = digest("sha1", letters, secret, ...randoms);
    parts.push(digest("md5", secret, inner));
  }
  return Buffer.concat(parts).subarray(0, length);
}

/** The running hash of all handshake messages of both sides. */
export interface Transcript {
  add(message: Uint8Array): void;
  /** The contents of a side's Finished at this point, 36 bytes: RFC 6101, section 5.6.9. */
  finished(sender: Side, master: Uint8Array): Buffer;
}

export function createTranscript(): Transcript {
  const hashes = { md5: createHash("md5"), sha1: createHash("sha1") };
  const finish = (name: MacName, sender: Side, master: Uint8Array) => {
    const { pad } = MACS[name];
    const inner: Hash = hashes[name].copy();
    inner.update(SENDERS[sender]).update(master).update(PAD_1.subarray(0, pad));
    return digest(name, master, PAD_2.subarray(0, pad), inner.digest());
  };
  return {
    add(message) {
      hashes.md5.update(message);
      hashes.sha1.update(message);
    },
    finished: (sender, master) => Buffer.concat([finish("md5", sender, master), finish("sha1", sender, master)]),
  };
}

const [PAD_1, PAD_2] = [Buffer.alloc(MACS.md5.pad, 0x36), Buffer.alloc(MACS.md5.pad, 0x5c)];
const SENDERS = { client: "CLNT", server: "SRVR" } as const;
