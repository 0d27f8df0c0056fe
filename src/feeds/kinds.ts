import type { Logger } from "pino";
import type { Feed } from "./feed.ts";
import { createInterfaceFeed, type InterfaceOptions } from "./interface.ts";
import { createKeylogFeed, type KeylogOptions } from "./keylog.ts";
import { createPcapOverIpFeed, type PcapOverIpOptions } from "./pcap-over-ip.ts";
import { createPcapngFeed, type PcapngOptions } from "./pcapng.ts";

/** What a feed knows of the node. */
export interface FeedContext {
  /** This worker's number, from 0, and how many there are. */
  readonly worker: number;
  readonly workers: number;
  /** Where the workers of this node find each other: a folder of the node's own. */
  readonly dataDir: string;
  readonly log: Logger;
}

type Written<Options> = Omit<Options, keyof FeedContext | "retry" | "stall">;

type FeedPlace =
  | (Written<PcapngOptions> & { readonly kind: "pcapng" })
  | (Written<PcapOverIpOptions> & { readonly kind: "pcap-over-ip" })
  | (Written<InterfaceOptions> & { readonly kind: "interface" })
  | (Written<KeylogOptions> & { readonly kind: "keylog" });

/** Every kind of feed. A new one is one file and one row. Never throws: a feed that cannot run says so by itself. */
export function openFeed(feed: FeedPlace, context: FeedContext): Promise<Feed> {
  switch (feed.kind) {
    case "pcapng":
      return createPcapngFeed({ ...feed, ...context });
    case "pcap-over-ip":
      return createPcapOverIpFeed({ ...feed, ...context });
    case "interface":
      return createInterfaceFeed({ ...feed, ...context });
    case "keylog":
      return createKeylogFeed({ ...feed, ...context });
  }
}
