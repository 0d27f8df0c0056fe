import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import type { Deliver } from "./block-stream.ts";
import { pcapRecords, pcapStart } from "./pcap-format.ts";
import { dropNote, sectionStart } from "./pcapng-format.ts";

export interface ClientOptions {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
  readonly format: "pcapng" | "pcap";
  readonly log: Logger;
  /** ms after which a client that takes nothing of what waits for it is disconnected; 30 s when absent. */
  readonly stall?: number | undefined;
}

/** The programs that read a pcap-over-ip feed. */
export interface CaptureClients {
  readonly deliver: Deliver;
  /** Packets that were left out for a client, summed over all of them. */
  readonly dropped: number;
  readonly count: number;
  /** Nobody can connect any more; those who are get what waits for them, for a second at most. */
  close(): Promise<void>;
}

const MOST = 16;
const MIB = 1024 * 1024;
/** Bytes that wait for one client at most. The pieces are shared: clients that are equally far behind need it once. */
const LIMIT = 32 * MIB;
const STALL = 30_000;
const FAREWELL = 1_000;

/** One program, and how many packets it missed. */
interface Reader {
  readonly socket: Socket;
  missed: number;
  /** It has not been told of all that it missed. */
  untold: boolean;
}

/**
 * Listens for programs that read the feed, which is all they can do: what they send is not looked at. Each gets whole
 * blocks. For one that is slow, blocks are left out, and a note in the stream says how many. `onAudience` is called with
 * true whenever one comes, with false when the last has gone. Throws the system's error when the address cannot be had.
 */
export async function serveClients(
  { name, address, format, log, stall = STALL }: ClientOptions,
  onAudience: (present: boolean) => void,
): Promise<CaptureClients> {
  const readers = new Set<Reader>();
  const preamble = format === "pcap" ? pcapStart() : sectionStart(name);
  let dropped = 0;

  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    if (readers.size >= MOST) {
      log.warn({ feed: name, client: socket.remoteAddress }, `a client was refused: the feed has ${MOST}`);
      socket.on("error", () => {}).destroy();
      return;
    }
    const reader: Reader = { socket, missed: 0, untold: false };
    readers.add(reader);
    log.info({ feed: name, client: socket.remoteAddress, clients: readers.size }, "a client reads the feed");
    // Every byte that it takes puts this off, and a client for which nothing waits is not late.
    socket.setTimeout(stall, () => {
      if (socket.writableLength === 0) return;
      log.warn({ feed: name, client: socket.remoteAddress }, "a client of the feed takes nothing; it is disconnected");
      socket.destroy();
    });
    // One that is gone shows as "close", however it went.
    socket.on("error", () => {});
    socket.on("close", () => {
      readers.delete(reader);
      log.info({ feed: name, missed: reader.missed, clients: readers.size }, "a client of the feed has gone");
      if (readers.size === 0) onAudience(false);
    });
    socket.resume();
    socket.write(preamble);
    onAudience(true);
  });

  const hand = (reader: Reader, bytes: Buffer, packets: number): void => {
    const { socket } = reader;
    if (socket.writableLength + bytes.length > LIMIT) {
      dropped += packets;
      reader.missed += packets;
      reader.untold = true;
      return;
    }
    if (reader.untold && format === "pcapng") socket.write(dropNote(reader.missed, Date.now() * 1000));
    reader.untold = false;
    socket.write(bytes);
  };

  await listening(server, address);
  return {
    deliver(blocks, packets) {
      const bytes = format === "pcap" ? pcapRecords(blocks) : blocks;
      for (const reader of readers) hand(reader, bytes, packets);
    },
    get dropped() {
      return dropped;
    },
    get count() {
      return readers.size;
    },
    async close() {
      server.close();
      for (const { socket } of readers) {
        socket.end();
        setTimeout(() => socket.destroy(), FAREWELL).unref();
      }
      await Promise.all([...readers].map(({ socket }) => socket.destroyed || once(socket, "close")));
    },
  };
}

/** Rejects with the system's error. One that comes later, for want of descriptors say, costs a connection and no more. */
export async function listening(server: Server, where: { readonly host: string; readonly port: number } | string) {
  server.listen(typeof where === "string" ? { path: where } : where);
  await once(server, "listening");
  server.on("error", () => {});
}
