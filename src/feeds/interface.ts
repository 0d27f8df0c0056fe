import type { Logger } from "pino";
import { openPacketSocket } from "../linux/packet-socket.ts";
import type { Side } from "../vocabulary.ts";
import type { Feed, FeedFilter, FeedSession } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { FrameSender } from "./frame-sender.ts";
import { createClock, openPacketFlow, type SessionPackets } from "./packet-flow.ts";
import { createRecovery } from "./recovery.ts";

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
  readonly log: Logger;
  /** ms between two attempts to open the interface. */
  readonly retry?: number | undefined;
}

/**
 * Sends the plaintext as Ethernet frames on an interface, for an IDS that listens there. Every burst is sent at once. Frames
 * that the interface cannot take are left out after a while: sessions never wait for it. Without its interface the feed
 * stops, and it runs again when the interface is back.
 */
export async function createInterfaceFeed(options: InterfaceOptions): Promise<Feed> {
  const { name, log, retry } = options;
  const clock = createClock();
  const sender = new FrameSender((error) => recovery.fail(error));
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

/** The destination and source addresses in the frames of one side. */
function headersOf({ clientMac, serverMac, destinationMac }: InterfaceOptions, from: Side): Buffer {
  const [source, target] = from === "client" ? [clientMac, serverMac] : [serverMac, clientMac];
  return Buffer.from(`${destinationMac ?? target}${source}`.replaceAll(":", ""), "hex");
}

/** The four bytes of an 802.1Q tag; empty when the session gets none. */
function tagOf({ flow }: FeedSession, { mark }: InterfaceOptions): Buffer {
  return Buffer.from(mark && flow === "decrypted" ? [0x81, 0x00, mark.vlan >> 8, mark.vlan & 255] : []);
}

/** The frame begins this many bytes after a multiple of four, so that its IP header begins at one. */
const ALIGNMENT = 2;
const MACS = 12;
const ETHERTYPES = { 4: 0x0800, 6: 0x86dd } as const;

/** Wraps one session's packets in Ethernet frames. */
class Frames implements SessionPackets {
  time = 0;
  readonly #sender: FrameSender;
  readonly #macs: Readonly<Record<Side, Buffer>>;
  readonly #tag: Buffer;

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
