import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import { pcapRecords, pcapStart } from "./pcap-format.ts";
import { dropNote, LABEL, sectionStart } from "./pcapng-format.ts";

export interface ClientOptions {
  readonly name: string;
  readonly address: { readonly host: string; readonly port: number };
  readonly format: "pcapng" | "pcap";
  readonly log: Logger;
  /** ms after which a client that takes none of the bytes that wait for it is disconnected; 30 s when absent. */
  readonly stall?: number | undefined;
}

const MAX_CLIENTS = 16;
const MIB = 1024 * 1024;
/** The most bytes that wait for one client. Clients that are equally far behind share the memory. */
const LIMIT = 32 * MIB;
const STALL = 30_000;
/** ms without bytes until the kernel probes whether a client still exists. */
const PROBE = 10_000;
/** ms that clients have for the last bytes when the feed closes. */
const FAREWELL = 1_000;

/** A program that reads the feed. */
interface Reader {
  readonly socket: Socket;
  /** Readers are numbered as they come, from 1. */
  readonly number: number;
  /** Packets that were left out for it. */
  missed: number;
  /** It has not been told of all of them. */
  untold: boolean;
  /** It has ended its input: it goes on reading, or has gone. */
  ended: boolean;
}

/**
 * Listens for programs that read the feed; what they send is ignored. Each gets whole blocks. For a slow one, blocks are
 * left out, and a note in the stream says how many. `onAudience` is called with the number of each new program, and with 0
 * when the last has gone. Rejects with the system's error when the address cannot be used.
 */
export async function serveClients(
  options: ClientOptions,
  onAudience: (reader: number) => void,
): Promise<CaptureClients> {
  const clients = new CaptureClients(options, onAudience);
  await clients.listen();
  return clients;
}

/** The programs that read a pcap-over-ip feed. */
export class CaptureClients {
  readonly #options: ClientOptions;
  readonly #onAudience: (reader: number) => void;
  readonly #preamble: Buffer;
  readonly #readers = new Set<Reader>();
  readonly #server: Server;
  #dropped = 0;
  /** The number of the latest client. */
  #count = 0;

  constructor(options: ClientOptions, onAudience: (reader: number) => void) {
    this.#options = options;
    this.#onAudience = onAudience;
    this.#preamble = options.format === "pcap" ? pcapStart() : sectionStart(options.name);
    // A program may end its input and go on reading. Whether one that is quiet still exists, keepalive probes find out.
    this.#server = createServer(
      { noDelay: true, keepAlive: true, keepAliveInitialDelay: PROBE, allowHalfOpen: true },
      (socket) => this.#accept(socket),
    );
  }

  async listen(): Promise<void> {
    await listening(this.#server, this.#options.address);
  }

  /** Packets that were left out for a client, over all clients. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The number of the latest client; 0: there is none. */
  get latest(): number {
    return this.#readers.size === 0 ? 0 : this.#count;
  }

  /** Sends blocks to the clients up to this number. Answers whether they wait for a client, which needs their memory. */
  deliver(blocks: Buffer, packets: number, latest: number): boolean {
    const readers = [...this.#readers].filter(({ number }) => number <= latest);
    const isPcap = this.#options.format === "pcap";
    const encode = (own: Buffer) => (isPcap ? pcapRecords(own) : own);
    const labels = takeLabels(blocks);
    const whole = labels === undefined ? encode(blocks) : undefined;
    for (const reader of readers) {
      this.#send(reader, whole ?? encode(blocksFor(reader.number, blocks, labels)), packets);
    }
    return !isPcap && readers.some(({ socket }) => socket.writableLength > 0);
  }

  /** Stops listening. Connected clients get the bytes that wait for them, within a second. */
  async close(): Promise<void> {
    this.#server.close();
    for (const { socket } of this.#readers) {
      socket.end();
      setTimeout(() => socket.destroy(), FAREWELL).unref();
    }
    await Promise.all([...this.#readers].map(({ socket }) => socket.destroyed || once(socket, "close")));
  }

  #accept(socket: Socket): void {
    const { name, log, stall = STALL } = this.#options;
    const client = socket.remoteAddress;
    if (this.#readers.size >= MAX_CLIENTS && !this.#makeRoom()) {
      log.warn({ feed: name, client }, `a client was refused: the feed has ${MAX_CLIENTS}`);
      socket.on("error", () => {}).destroy();
      return;
    }
    const reader: Reader = { socket, missed: 0, untold: false, ended: false, number: this.#count + 1 };
    this.#count += 1;
    // Before it is a reader: what was collected until now is for the others.
    this.#onAudience(this.#count);
    this.#readers.add(reader);
    log.info({ feed: name, client, clients: this.#readers.size }, "a client reads the feed");
    // Every byte that the client takes restarts the timeout. A client for which nothing waits is not late.
    socket.setTimeout(stall, () => {
      if (socket.writableLength === 0) return;
      log.warn({ feed: name, client }, "a client of the feed takes no bytes; it is disconnected");
      socket.destroy();
    });
    // "close" follows every error.
    socket.on("error", () => {});
    socket.on("close", () => this.#remove(reader));
    socket.on("end", () => {
      reader.ended = true;
    });
    socket.resume();
    socket.write(this.#preamble);
  }

  /** Disconnects the oldest client that has ended its input, which has probably gone. Answers whether there was one. */
  #makeRoom(): boolean {
    const oldest = [...this.#readers].find(({ ended }) => ended);
    if (oldest === undefined) return false;
    this.#remove(oldest);
    oldest.socket.destroy();
    return true;
  }

  #remove(reader: Reader): void {
    const { name, log } = this.#options;
    if (!this.#readers.delete(reader)) return;
    log.info({ feed: name, missed: reader.missed, clients: this.#readers.size }, "a client of the feed has gone");
    if (this.#readers.size === 0) this.#onAudience(0);
  }

  #send(reader: Reader, bytes: Buffer, packets: number): void {
    const { socket } = reader;
    if (socket.writableLength + bytes.length > LIMIT) {
      this.#dropped += packets;
      reader.missed += packets;
      reader.untold = true;
      return;
    }
    const hasNotes = this.#options.format === "pcapng";
    if (reader.untold && hasNotes) socket.write(dropNote(reader.missed, Date.now() * 1000));
    reader.untold = false;
    socket.write(bytes);
  }
}

/** Removes the labels of made-up packets, and answers them by the offsets of their blocks; undefined: there are none. */
function takeLabels(blocks: Buffer): ReadonlyMap<number, number> | undefined {
  let labels: Map<number, number> | undefined;
  for (let at = 0; at < blocks.length; at += blocks.readUInt32LE(at + 4)) {
    const label = blocks.readUInt32LE(at + LABEL);
    if (label === 0) continue;
    labels ??= new Map();
    labels.set(at, label);
    blocks.writeUInt32LE(0, at + LABEL);
  }
  return labels;
}

/** The blocks without the handshakes that were made up for other readers: this one knows those sessions. */
function blocksFor(reader: number, blocks: Buffer, labels: ReadonlyMap<number, number> = new Map()): Buffer {
  const parts: Buffer[] = [];
  let start = 0;
  for (const [at, label] of labels) {
    if (reader >= label) continue;
    parts.push(blocks.subarray(start, at));
    start = at + blocks.readUInt32LE(at + 4);
  }
  return parts.length === 0 ? blocks : Buffer.concat([...parts, blocks.subarray(start)]);
}

/** Rejects with the system's error. A later error, such as too many open files, costs one connection and is ignored. */
export async function listening(server: Server, where: { readonly host: string; readonly port: number } | string) {
  server.listen(typeof where === "string" ? { path: where } : where);
  await once(server, "listening");
  server.on("error", () => {});
}
