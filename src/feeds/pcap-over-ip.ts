import { join } from "node:path";
import type { Logger } from "pino";
import type { PortMap } from "../port-map.ts";
import { BlockStream, type Deliver } from "./block-stream.ts";
import { type CaptureClients, serveClients } from "./capture-clients.ts";
import { reasonOf } from "./capture-file.ts";
import type { Feed, FeedFilter } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { createClock, openPacketFlow, shown } from "./packet-flow.ts";
import { type CommentMark, PacketBlocks, type Segmentation } from "./pcapng-packets.ts";
import { createRecovery, type Recovery } from "./recovery.ts";
import { type Delivered, type Hub, type Link, openHub, openLink } from "./worker-links.ts";

export interface PcapOverIpOptions extends FeedFilter {
  readonly name: string;
  /** Where programs connect. The plaintext is sent without authentication or encryption. */
  readonly address: { readonly host: string; readonly port: number };
  readonly format: "pcapng" | "pcap";
  readonly segment: Segmentation;
  readonly mark?: CommentMark | undefined;
  readonly worker: number;
  readonly workers: number;
  /** The node's own folder, which no other user can enter: the socket between the workers is there. */
  readonly dataDir: string;
  /** The servers' ports in the packets. */
  readonly ports: PortMap;
  readonly log: Logger;
  /** ms between two attempts to open the feed. */
  readonly retry?: number | undefined;
  /** ms after which a client that takes no bytes is disconnected. */
  readonly stall?: number | undefined;
}

/**
 * Sends the plaintext as one stream of packets to every program that connects: Wireshark, tshark, Arkime. Worker 0 has the
 * clients, and the other workers send it their packets. Without a client no packet is made. A slow client misses packets;
 * sessions never wait for it.
 */
export async function createPcapOverIpFeed(options: PcapOverIpOptions): Promise<Feed> {
  const { name, address } = options;
  const counts = { sessions: 0, packets: 0, bytes: 0, dropped: 0 };
  const clock = createClock();
  const form = { segment: options.segment, mark: options.mark, ports: options.ports };
  const place = address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
  const stream = new BlockStream((blocks, packets, reader) => {
    const delivered = outlet.deliver(blocks, packets, reader);
    if (delivered === "left out") {
      counts.dropped += packets;
    } else {
      counts.packets += packets;
      counts.bytes += blocks.length;
    }
    return delivered === "waits";
  });
  const outlet = (options.worker === 0 ? serve : follow)(options, place, (reader) => stream.audience(reader));
  await outlet.recovery.start();
  return {
    name,
    get place() {
      return outlet.recovery.stopped === undefined ? place : undefined;
    },
    wants: createFilter(options),
    open(session, now) {
      counts.sessions += 1;
      return openPacketFlow(shown(session, options.ports), now, clock, new PacketBlocks(stream, session, form));
    },
    pressure: () => undefined,
    counters: () => ({
      name,
      kind: "pcap-over-ip",
      state: outlet.recovery.stopped === undefined ? "running" : "stopped",
      reason: outlet.recovery.stopped,
      ...counts,
      dropped: counts.dropped + outlet.dropped(),
    }),
    async close() {
      await outlet.recovery.close();
      stream.flush();
      stream.audience(0);
      await outlet.close();
    },
  };
}

/** Takes a worker's packets. */
interface Outlet {
  readonly recovery: Recovery;
  deliver(blocks: Buffer, packets: number, reader: number): Delivered;
  /** Packets that were left out after they were delivered. */
  dropped(): number;
  close(): Promise<void>;
}

/** Worker 0 serves the clients, and takes the packets of the other workers. */
function serve(options: PcapOverIpOptions, place: string, onAudience: (reader: number) => void): Outlet {
  const { name, log, retry } = options;
  let clients: CaptureClients | undefined;
  let hub: Hub | undefined;
  const deliver: Deliver = (blocks, packets, reader) => clients?.deliver(blocks, packets, reader) ?? false;
  const close = async () => {
    // The hub first: once the address is free, another feed of this name may open its own hub.
    hub?.close();
    await clients?.close();
  };
  const open = async () => {
    clients = await serveClients(options, (reader) => {
      onAudience(reader);
      hub?.audience(reader);
    });
    if (options.workers === 1) return;
    try {
      hub = await openHub(socketPath(options), deliver, () => clients?.latest ?? 0);
    } catch (error) {
      await close();
      throw error;
    }
  };
  return {
    recovery: createRecovery({ name, place, log, retry, open }),
    deliver: (blocks, packets, reader) => (deliver(blocks, packets, reader) ? "waits" : "taken"),
    dropped: () => clients?.dropped ?? 0,
    close,
  };
}

/** The other workers connect to worker 0. Worker 0 logs the errors of the feed. */
function follow(options: PcapOverIpOptions, place: string, onAudience: (reader: number) => void): Outlet {
  const { name, retry } = options;
  let link: Link | undefined;
  const lost = () => {
    link = undefined;
    onAudience(0);
    recovery.fail(new Error("worker 0, which serves the feed's clients, has gone"));
  };
  const open = async () => {
    try {
      link = await openLink(socketPath(options), onAudience, lost);
    } catch (error) {
      throw new Error(`cannot reach worker 0, which serves the feed's clients: ${reasonOf(error)}`, { cause: error });
    }
  };
  const recovery = createRecovery({ name, place, log: undefined, retry, open });
  return {
    recovery,
    deliver: (blocks, packets, reader) => link?.deliver(blocks, packets, reader) ?? "left out",
    dropped: () => 0,
    async close() {
      link?.close();
    },
  };
}

function socketPath({ dataDir, name }: PcapOverIpOptions): string {
  return join(dataDir, "feeds", `${name}.sock`);
}
