import { randomInt } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { Logger } from "pino";
import type { Feed, FeedFlow, FeedSession } from "./feed.ts";
import { packetBlockLength, packetComment, sectionStart, writePacketBlock } from "./pcapng-format.ts";
import { RotatingFiles } from "./rotating-files.ts";
import { type PacketSink, Segments } from "./segments.ts";

export interface PcapngOptions {
  readonly name: string;
  /** Made, 0700, when missing. Its files are 0600. */
  readonly directory: string;
  /** A file's greatest length, in bytes. */
  readonly rotate: number;
  /** Files kept over all workers, the newest; at least one of each worker. */
  readonly keep: number;
  /** This worker's number and how many there are. */
  readonly worker: number;
  readonly workers: number;
  readonly log: Logger;
  /** ms until a stopped feed tries again; 30,000 when absent. */
  readonly retry?: number;
}

/**
 * The plaintext of every session as TCP packets in pcapng files, `<name>-<UTC time>-w<worker>.pcapng`, that Wireshark
 * reads. Each file can be read by itself: a session that goes on in the next is named there again. Never throws: a
 * directory that cannot be written makes a feed that is stopped and says why.
 */
export async function createPcapngFeed(options: PcapngOptions): Promise<Feed> {
  const files = new RotatingFiles({
    ...options,
    extension: "pcapng",
    preamble: sectionStart(options.name),
  });
  const clock = createClock();
  await files.start();
  let sessions = 0;
  return {
    name: options.name,
    get place() {
      return files.place();
    },
    open(session, now) {
      sessions += 1;
      return openFlow(files, clock, session, now);
    },
    pressure: () => files.pressure(),
    counters: () => ({
      name: options.name,
      kind: "pcapng",
      state: files.stopped === undefined ? "running" : "stopped",
      reason: files.stopped,
      sessions,
      packets: files.records,
      bytes: files.bytes,
      dropped: files.dropped,
    }),
    close: () => files.close(),
  };
}

function openFlow(files: RotatingFiles, clock: () => number, session: FeedSession, now: number): FeedFlow {
  const { client, server } = session;
  if (!ipaddr.isValid(client.address) || !ipaddr.isValid(server.address)) {
    // A socket that is gone already shows no address: such a session leaves no packets.
    return { data() {}, end() {}, reset() {}, close() {} };
  }
  const sequence = { client: randomInt(2 ** 32), server: randomInt(2 ** 32) };
  const packets = new PacketBlocks(files, packetComment(commentOf(session)));
  const segments = new Segments({ client, server, sequence }, packets);
  packets.time = now * 1000;
  segments.open();
  let closed = false;
  const step = (write: () => void): void => {
    if (closed) return;
    packets.time = Math.max(clock(), packets.time);
    write();
  };
  return {
    data: (from, bytes) => step(() => segments.data(from, bytes)),
    end: (from) => step(() => segments.end(from)),
    reset: (from) => step(() => segments.reset(from)),
    close() {
      step(() => segments.close());
      closed = true;
      files.settle();
    },
  };
}

/** Dresses one session's packets for the file, the first of each file with the comment that names the session. */
class PacketBlocks implements PacketSink {
  /** Of the packets to come, in microseconds since the epoch. */
  time = 0;
  readonly #files: RotatingFiles;
  readonly #comment: Buffer;
  #namedIn = 0;

  constructor(files: RotatingFiles, comment: Buffer) {
    this.#files = files;
    this.#comment = comment;
  }

  get block() {
    return this.#files.block;
  }

  place(length: number): number {
    const files = this.#files;
    files.turn(packetBlockLength(length, this.#comment));
    const comment = this.#namedIn === files.generation ? undefined : this.#comment;
    const at = files.room(packetBlockLength(length, comment));
    if (at < 0) return -1;
    this.#namedIn = files.generation;
    return writePacketBlock(files.block, at, length, this.time, comment);
  }
}

function commentOf({ id, host, client, server, verdict, description }: FeedSession): string {
  const ends = `${client.address} port ${client.port} to ${server.address} port ${server.port}`;
  return `Clearline session ${id}: ${host ?? "no host name"}; ${ends}; ${verdict ?? "no verdict"}; ${description}`;
}

/** Date.now() in microseconds, with the digits that it lacks; a clock that is set is followed. */
function createClock(): () => number {
  let origin = performance.timeOrigin;
  return () => {
    const coarse = Date.now();
    const fine = origin + performance.now();
    if (Math.abs(fine - coarse) <= 2) return Math.floor(fine * 1000);
    origin = coarse - performance.now();
    return coarse * 1000;
  };
}
