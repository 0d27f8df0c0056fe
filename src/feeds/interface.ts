import type { Logger } from "pino";
import { OFFLOAD_HEADER, openPacketSocket, writeOffload } from "../linux/packet-socket.ts";
import type { PortMap } from "../port-map.ts";
import type { Side } from "../vocabulary.ts";
import type { Feed, FeedFilter, FeedSession } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { FrameSender } from "./frame-sender.ts";
import { createClock, openPacketFlow, type SessionPackets, shown } from "./packet-flow.ts";
import { TCP_HEADER } from "./packet-headers.ts";
import { createRecovery } from "./recovery.ts";
import { LONGEST_PACKET } from "./segments.ts";

export interface InterfaceOptions extends FeedFilter {
  readonly name: string;
  /** An Ethernet interface. */
  readonly interface: string;
  /** The MAC addresses of every client and every server: "02:43:4c:00:00:0a". */
  readonly clientMac: string;
  readonly serverMac: string;
  /** The destination of every frame; absent: `clientMac` or `serverMac`. */
  readonly destinationMac?: string | undefined;
  /** The 802.1Q tag on frames of decrypted sessions. */
  readonly mark?: { readonly vlan: number } | undefined;
  /** false: the feed cuts the segments itself, as where the kernel cannot. */
  readonly offload?: boolean | undefined;
  /** The servers' ports in the packets. */
  readonly ports: PortMap;
  readonly log: Logger;
  /** ms between two attempts to open the interface. */
  readonly retry?: number | undefined;
}

/**
 * Sends the plaintext as Ethernet frames on an interface, for an IDS that listens there. Every burst is sent at once, and the kernel
 * cuts it into segments where it can. Sessions never wait for the interface: frames that it cannot take are left out after a while.
 * Without its interface the feed stops, and it runs again when the interface is back.
 */
export async function createInterfaceFeed(options: InterfaceOptions): Promise<Feed> {
  const { name, log, retry, offload = true } = options;
  const clock = createClock();
  const sender = new FrameSender((error) => recovery.fail(error));
  const open = () => sender.use(openPacketSocket(options.interface, offload));
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
      return openPacketFlow(
        shown(session, options.ports),
        now,
        clock,
        new Frames(sender, macs, tagOf(session, options)),
      );
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

/** The destination and source addresses in the frames of one side. */
function headersOf({ clientMac, serverMac, destinationMac }: InterfaceOptions, from: Side): Buffer {
  const [source, target] = from === "client" ? [clientMac, serverMac] : [serverMac, clientMac];
  return Buffer.from(`${destinationMac ?? target}${source}`.replaceAll(":", ""), "hex");
}

/** The four bytes of an 802.1Q tag; empty when the session gets none. */
function tagOf({ flow }: FeedSession, { mark }: InterfaceOptions): Buffer {
  return Buffer.from(mark && flow === "decrypted" ? [0x81, 0x00, mark.vlan >> 8, mark.vlan & 255] : []);
}

/** A frame, with the kernel's header of 10 bytes or without it, begins so that its IP header is at a multiple of four. */
const ALIGNMENT = { [OFFLOAD_HEADER]: 0, 0: 2 } as const;
const MACS = 12;
const ETHERTYPES = { 4: 0x0800, 6: 0x86dd } as const;

/** Wraps one session's packets in Ethernet frames. */
class Frames implements SessionPackets {
  time = 0;
  readonly #sender: FrameSender;
  readonly #macs: Readonly<Record<Side, Buffer>>;
  readonly #tag: Buffer;
  madeUp = false;
  #begun = false;

  constructor(sender: FrameSender, macs: Readonly<Record<Side, Buffer>>, tag: Buffer) {
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

  get longest() {
    return this.#sender.hasOffload ? LONGEST_PACKET : this.#sender.mtu;
  }

  get leavesChecksums() {
    return this.#sender.hasOffload;
  }

  place(length: number, payload: number, from: Side, version: 4 | 6): number {
    const sender = this.#sender;
    const { mtu, hasOffload } = sender;
    const header = MACS + this.#tag.length + 2;
    const mss = mtu - (length - payload);
    const frames = length > mtu ? Math.ceil(payload / mss) : 1;
    const bytes = payload + frames * (header + length - payload);
    const before = hasOffload ? OFFLOAD_HEADER : 0;
    const start = sender.room(ALIGNMENT[before], { length: before + header + length, frames, bytes });
    if (start < 0) return -1;
    this.#begun = true;
    const { block } = sender;
    const at = start + before;
    if (hasOffload) {
      const end = header + length - payload;
      const needed = { version, tcp: end - TCP_HEADER, end, mss: frames > 1 ? mss : undefined };
      writeOffload(block.view, start, payload > 0 ? needed : undefined);
    }
    this.#macs[from].copy(block.bytes, at);
    this.#tag.copy(block.bytes, at + MACS);
    block.bytes.writeUInt16BE(ETHERTYPES[version], at + header - 2);
    return at + header;
  }

  /**
   * The feed cannot know when an IDS starts to listen. It makes up only a handshake that it had to leave out because the interface
   * was away.
   */
  begins(): boolean {
    if (this.#begun || !this.#sender.isOpen) return false;
    this.#begun = true;
    return true;
  }

  complete(): void {
    this.#sender.flush();
  }
}
