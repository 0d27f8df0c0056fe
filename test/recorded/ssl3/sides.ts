import { createHash, createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { PeerError } from "../../../src/errors.ts";
import { type ClientOptions, createClient } from "../../../src/ssl3/client.ts";
import type { Connection, ConnectionEvent, Established, SavedSession } from "../../../src/ssl3/connection.ts";
import type { Random } from "../../../src/ssl3/random.ts";
import { createServer, type Identity, type ServerOptions } from "../../../src/ssl3/server.ts";
import { suitesFor } from "../../../src/ssl3/suites.ts";

/** Connects both sides of a conversation without a network. */

const at = (name: string) => new URL(name, import.meta.url);
const identity = (name: string): Identity => ({
  chain: [new X509Certificate(readFileSync(at(`${name}.pem`))).raw],
  key: createPrivateKey(readFileSync(at(`${name}.key`))),
});
export const RSA = identity("rsa");
/** 1024 bits: conversations are replayed very often, and the size of the key is not what they try. */
export const SMALL = identity("small");
export const ECDSA = identity("ecdsa");

/** Random bytes that are the same each time. */
export function seeded(seed: string): Random {
  const blocks = BLOCKS.get(seed) ?? [];
  BLOCKS.set(seed, blocks);
  let count = 0;
  return (size) => {
    const parts: Buffer[] = [];
    for (let length = 0; length < size; length += 32) {
      blocks[count] ??= createHash("sha256").update(`${seed} ${count}`).digest();
      parts.push(blocks[count]!);
      count += 1;
    }
    return Buffer.concat(parts).subarray(0, size);
  };
}

/** By seed: the blocks that were made. */
const BLOCKS = new Map<string, Buffer[]>();

export function clientOf(options: Partial<ClientOptions> = {}): Connection {
  return createClient({
    random: seeded("client"),
    suites: suitesFor("all").map(({ id }) => id),
    dhBits: 4096,
    fallback: false,
    ...options,
  });
}

export function serverOf(options: Partial<ServerOptions> = {}): Connection {
  return createServer({
    random: seeded("server"),
    identities: [RSA, ECDSA],
    suites: "all",
    highest: 0x0300,
    ...options,
  });
}

/** The events of one side. */
export interface Heard {
  readonly events: ConnectionEvent[];
  readonly error: PeerError | undefined;
}

/** Gives bytes to a side. A PeerError is an outcome; other errors are thrown. The bytes are not changed. */
export function hear(side: Connection, bytes: Uint8Array): Heard {
  const events: ConnectionEvent[] = [];
  try {
    for (const event of side.receive(Buffer.from(bytes))) events.push(event);
    return { events, error: undefined };
  } catch (error) {
    if (error instanceof PeerError) return { events, error };
    throw error;
  }
}

export interface Spoken {
  readonly client: Heard;
  readonly server: Heard;
}

/** Carries all bytes between two sides until neither has more. `piece`: how many bytes at a time. */
export function talk(client: Connection, server: Connection, piece = Number.POSITIVE_INFINITY): Spoken {
  const heard = { client: [] as Heard[], server: [] as Heard[] };
  for (;;) {
    const there = client.take();
    for (const part of inPieces(there, piece)) heard.server.push(hear(server, part));
    const back = server.take();
    for (const part of inPieces(back, piece)) heard.client.push(hear(client, part));
    if (there.length === 0 && back.length === 0) return { client: sum(heard.client), server: sum(heard.server) };
  }
}

function* inPieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function sum(all: readonly Heard[]): Heard {
  return { events: all.flatMap(({ events }) => events), error: all.find(({ error }) => error)?.error };
}

/** What the sides negotiated, once the handshake is complete. */
export function establishedOf({ events }: Heard): Established | undefined {
  return events.find((one) => one.kind === "open")?.established;
}

export function dataOf({ events }: Heard): Buffer {
  return Buffer.concat(events.flatMap((one) => (one.kind === "data" ? [one.bytes] : [])));
}

/** A server's session cache. */
export function sessionMap(): { find(id: Buffer): SavedSession | undefined; keep(session: SavedSession): void } {
  const kept = new Map<string, SavedSession>();
  return {
    find: (id) => kept.get(id.toString("hex")),
    keep: (session) => void kept.set(session.id.toString("hex"), session),
  };
}
