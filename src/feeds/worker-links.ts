import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import { makeFolder } from "../linux/folder.ts";
import { type Deliver, PIECE } from "./block-stream.ts";
import { listening } from "./capture-clients.ts";

/**
 * The links from the other workers to the one that serves the clients. A worker sends pieces: [length, packets, reader, blocks].
 * It receives a number of four bytes whenever the feed gets a reader, or 0 when it loses its last.
 */

const HEAD = 12;
/** The longest path in a struct sockaddr_un, in bytes, without the zero at its end. */
const LONGEST_PATH = 107;
const MIB = 1024 * 1024;
/** The most bytes that wait for the other worker. */
const LIMIT = 16 * MIB;

/** The end of the links at the worker that serves the clients. */
export interface Hub {
  /** The number of a new reader; 0: the last has gone. */
  audience(reader: number): void;
  close(): void;
}

/** Listens on a socket in the node's own folder. Rejects with an error that gives the reason. */
export async function openHub(path: string, deliver: Deliver, latest: () => number): Promise<Hub> {
  const links = new Set<Socket>();
  const server = createServer((link) => {
    links.add(link);
    link.on("error", () => {}).on("close", () => links.delete(link));
    link.on(
      "data",
      createPieceReader(deliver, () => link.destroy()),
    );
    if (latest() > 0) link.write(numbered(latest()));
  });
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new Error(
      `the path of the feed's socket, ${path}, is longer than ${LONGEST_PATH} bytes: shorten dataDir or the feed's name`,
    );
  await makeFolder(dirname(path));
  // A socket here was left by a worker that died: this worker already has the clients' address.
  await rm(path, { force: true });
  await listening(server, path);
  return {
    audience(reader) {
      for (const link of links) link.write(numbered(reader));
    },
    close() {
      server.close();
      for (const link of links) link.destroy();
    },
  };
}

function numbered(reader: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(reader);
  return bytes;
}

/** Joins pieces that arrive in parts. `refuse` is called when the bytes are not a piece. */
export function createPieceReader(deliver: Deliver, refuse: () => void): (bytes: Buffer) => void {
  let parts: Buffer[] = [];
  let have = 0;
  let need = HEAD;
  let packets: number | undefined;
  let reader = 0;
  const take = (): Buffer => {
    const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    const rest = all.subarray(need);
    parts = rest.length > 0 ? [rest] : [];
    have = rest.length;
    return all.subarray(0, need);
  };
  return (bytes) => {
    parts.push(bytes);
    have += bytes.length;
    while (have >= need) {
      const whole = take();
      if (packets !== undefined) {
        // Each piece has memory of its own.
        deliver(whole, packets, reader);
        packets = undefined;
        need = HEAD;
        continue;
      }
      need = whole.readUInt32LE(0);
      packets = whole.readUInt32LE(4);
      reader = whole.readUInt32LE(8);
      if (need === 0 || need > PIECE) {
        parts = [];
        have = 0;
        need = Number.POSITIVE_INFINITY;
        refuse();
      }
    }
  };
}

export type Delivered = "taken" | "waits" | "left out";

/** The end of a link at another worker. */
export interface Link {
  /** "left out": too many bytes wait already. "waits": the link needs the memory of the blocks. */
  deliver(blocks: Buffer, packets: number, reader: number): Delivered;
  close(): void;
}

/** Rejects with the system's error when nobody listens. `onLost` is called once, when the link breaks. */
export async function openLink(path: string, onAudience: (reader: number) => void, onLost: () => void): Promise<Link> {
  const socket = connect(path);
  await once(socket, "connect");
  // "close" follows every error.
  socket.on("error", () => {}).on("close", onLost);
  let news = Buffer.alloc(0);
  socket.on("data", (bytes: Buffer) => {
    news = Buffer.concat([news, bytes]);
    for (; news.length >= 4; news = news.subarray(4)) onAudience(news.readUInt32LE(0));
  });
  return {
    deliver(blocks, packets, reader) {
      if (socket.writableLength + blocks.length > LIMIT) return "left out";
      const head = Buffer.alloc(HEAD);
      head.writeUInt32LE(blocks.length, 0);
      head.writeUInt32LE(packets, 4);
      head.writeUInt32LE(reader, 8);
      socket.cork();
      socket.write(head);
      socket.write(blocks);
      socket.uncork();
      return socket.writableLength > 0 ? "waits" : "taken";
    },
    close() {
      socket.off("close", onLost);
      socket.end();
    },
  };
}
