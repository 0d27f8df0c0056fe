import type { Logger } from "pino";
import { createFrameBatch, type FrameBatch, openPacketSocket, type PacketSocket } from "../linux/packet-socket.ts";
import type { Side } from "../vocabulary.ts";
import type { Feed, FeedFilter, FeedSession } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { createClock, openPacketFlow, type SessionPackets } from "./packet-flow.ts";
import { createRecovery } from "./recovery.ts";
import { type Block, newBlock } from "./segments.ts";

export interface InterfaceOptions extends FeedFilter {
  readonly name: string;
  /** An Ethernet interface. */
  readonly interface: string;
  /** MAC addresses, "02:43:4c:00:00:0a": of every client, of every server, and where each frame goes when not to these. */
  readonly clientMac: string;
  readonly serverMac: string;
  readonly destinationMac?: string | undefined;
  /** The 802.1Q tag of decrypted sessions' frames. */
  readonly mark?: { readonly vlan: number } | undefined;
  readonly log: Logger;
  /** ms between two attempts to open the interface. */
  readonly retry?: number | undefined;
}

/** Until its Ethernet has room again, frames wait, but never more than this many batches. */
const MOST_BATCHES = 64;
const BATCH_SIZE = 256 * 1024;
const BATCH_FRAMES = 1024;
/** ms until frames that the kernel did not take are given to it again. */
const AGAIN = 1;

/**
 * The plaintext as Ethernet frames on an interface, for an IDS that listens there. Every burst is sent at once. Frames
 * that the interface cannot take are left out, after a while: sessions never wait for it. An interface that is not
 * there, or goes, stops the feed until it is back.
 */
export async function createInterfaceFeed(options: InterfaceOptions): Promise<Feed> {
  const { name, log, retry } = options;
  const clock = createClock();
  const sender = createSender((error) => recovery.fail(error));
  const open = () => sender.use(openPacketSocket(options.interface));
  const recovery = createRecovery({ name, place: options.interface, log, retry, open });
  await recovery.start();
  const macs = {
    client: headersOf(options, "client"),
    server: headersOf(options, "server"),
  };
  let sessions = 0;
  return {
    name,
    get place() {
      return recovery.stopped === undefined ? options.interface : undefined;
    },
    wants: createFilter(options),
    open(session, now) {
      sessions += 1;
      return openPacketFlow(session, now, clock, new Frames(sender, macs, tagOf(session, options)));
    },
    pressure: () => undefined,
    counters: () => ({
      name,
      kind: "interface",
      state: recovery.stopped === undefined ? "running" : "stopped",
      reason: recovery.stopped,
      sessions,
      ...sender.counters,
    }),
    async close() {
      await recovery.close();
      sender.close();
    },
  };
}

/** The destination's and the source's address, as they stand in the frames of one side. */
function headersOf({ clientMac, serverMac, destinationMac }: InterfaceOptions, from: Side): Buffer {
  const [source, target] = from === "client" ? [clientMac, serverMac] : [serverMac, clientMac];
  return Buffer.from(`${destinationMac ?? target}${source}`.replaceAll(":", ""), "hex");
}

/** The four bytes of an 802.1Q tag, or none. */
function tagOf({ flow }: FeedSession, { mark }: InterfaceOptions): Buffer {
  return Buffer.from(mark && flow === "decrypted" ? [0x81, 0x00, mark.vlan >> 8, mark.vlan & 255] : []);
}

/** The header's own beginning, so that what follows it, the IP header, is at a multiple of four. */
const ALIGNMENT = 2;
const MACS = 12;
const ETHERTYPES = { 4: 0x0800, 6: 0x86dd } as const;

/** Dresses one session's packets in Ethernet frames. */
class Frames implements SessionPackets {
  time = 0;
  readonly #sender: Sender;
  readonly #macs: Readonly<Record<Side, Buffer>>;
  readonly #tag: Buffer;

  constructor(sender: Sender, macs: Readonly<Record<Side, Buffer>>, tag: Buffer) {
    this.#sender = sender;
    this.#macs = macs;
    this.#tag = tag;
  }

  get block() {
    return this.#sender.block;
  }

  get mtu() {
    return this.#sender.mtu;
  }

  place(length: number, from: Side, version: 4 | 6): number {
    const header = MACS + this.#tag.length + 2;
    const at = this.#sender.room(ALIGNMENT, header + length);
    if (at < 0) return -1;
    const { bytes } = this.#sender.block;
    this.#macs[from].copy(bytes, at);
    this.#tag.copy(bytes, at + MACS);
    bytes.writeUInt16BE(ETHERTYPES[version], at + header - 2);
    return at + header;
  }

  complete(): void {
    this.#sender.flush();
  }
}

interface Sender {
  /** Where the last `room` is. */
  readonly block: Block;
  readonly mtu: number;
  /** Makes room for one frame, that many bytes behind a multiple of four, and answers its offset; -1 to leave it out. */
  room(alignment: number, length: number): number;
  /** Sends what was placed, as far as the kernel takes it. */
  flush(): void;
  use(socket: PacketSocket): void;
  readonly counters: { readonly packets: number; readonly bytes: number; readonly dropped: number };
  close(): void;
}

interface Batch {
  readonly block: Block;
  readonly frames: FrameBatch;
  used: number;
  /** Of the frames in it. */
  bytes: number;
}

/** `onError` is told when the interface is down or gone; from then on frames are left out, until it is used again. */
function createSender(onError: (error: unknown) => void): Sender {
  let socket: PacketSocket | undefined;
  let mtu = 1500;
  let batch = newBatch();
  /** What the kernel did not take yet, oldest first; `batch` is the last of it. */
  const waiting: Batch[] = [batch];
  const spare: Batch[] = [];
  const counters = { packets: 0, bytes: 0, dropped: 0 };
  let timer: NodeJS.Timeout | undefined;

  const stop = () => {
    socket?.close();
    socket = undefined;
    clearTimeout(timer);
    timer = undefined;
    for (const { frames } of waiting) counters.dropped += frames.count - frames.sent;
    for (const one of waiting) clear(one);
    waiting.splice(0, waiting.length, batch);
  };

  const send = (): void => {
    timer = undefined;
    try {
      for (let first = waiting[0]!; first.frames.count > 0; first = waiting[0]!) {
        const { frames } = first;
        const before = frames.sent;
        if (socket === undefined) return;
        counters.packets += socket.send(frames);
        if (frames.sent < frames.count) {
          if (frames.sent > before) continue;
          timer = setTimeout(send, AGAIN);
          timer.unref();
          return;
        }
        counters.bytes += first.bytes;
        clear(first);
        if (first === batch) return;
        waiting.shift();
        spare.push(first);
      }
    } catch (error) {
      stop();
      onError(error);
    }
  };

  return {
    get block() {
      return batch.block;
    },
    get mtu() {
      return mtu;
    },
    counters,
    room(alignment, length) {
      const space = (alignment + length + 3) & ~3;
      if (socket !== undefined && batch.used + space <= BATCH_SIZE && batch.frames.add(batch.used + alignment, length))
        return placed();
      if (timer === undefined) send();
      if (socket === undefined || waiting.length >= MOST_BATCHES) {
        counters.dropped += 1;
        return -1;
      }
      if (batch.used > 0) {
        batch = spare.pop() ?? newBatch();
        waiting.push(batch);
      }
      batch.frames.add(batch.used + alignment, length);
      return placed();

      function placed(): number {
        const at = batch.used + alignment;
        batch.used += space;
        // The checksum runs over whole words, and what an earlier frame left there must not be sent.
        batch.block.words[batch.used / 4 - 1] = 0;
        batch.bytes += length;
        return at;
      }
    },
    flush() {
      if (timer === undefined) send();
    },
    use(fresh) {
      socket = fresh;
      ({ mtu } = fresh);
    },
    close() {
      if (timer !== undefined) send();
      stop();
    },
  };
}

function newBatch(): Batch {
  const block = newBlock(BATCH_SIZE);
  return { block, frames: createFrameBatch(block.bytes, BATCH_FRAMES), used: 0, bytes: 0 };
}

function clear(batch: Batch): void {
  batch.frames.clear();
  batch.used = 0;
  batch.bytes = 0;
}
