import type { Logger } from "pino";
import type { Feed } from "./feed.ts";
import { createHttpFeed } from "./http.ts";
import { createInterfaceFeed } from "./interface.ts";
import { createKeylogFeed } from "./keylog.ts";
import { createPcapOverIpFeed } from "./pcap-over-ip.ts";
import { createPcapngFeed } from "./pcapng.ts";
import { createTlsLogFeed } from "./tls-log.ts";

/** Every kind of feed. A new one is one file, one row here and one in `config/feed.ts`. */
const KINDS = {
  pcapng: createPcapngFeed,
  "pcap-over-ip": createPcapOverIpFeed,
  interface: createInterfaceFeed,
  keylog: createKeylogFeed,
  "tls-log": createTlsLogFeed,
  http: createHttpFeed,
};

/** What a feed gets from the node. */
export interface FeedContext {
  /** This worker's number, from 0, and how many workers there are. */
  readonly worker: number;
  readonly workers: number;
  /** The node's own folder, in which its workers find each other. */
  readonly dataDir: string;
  readonly log: Logger;
}

type Kind = keyof typeof KINDS;
type Configured<Options> = Omit<Options, keyof FeedContext | "retry" | "stall">;
/** A feed as the configuration has it. */
type ConfiguredFeed = {
  [Name in Kind]: Configured<Parameters<(typeof KINDS)[Name]>[0]> & { readonly kind: Name };
}[Kind];

/** Never rejects: a feed that cannot run reports that it is stopped. */
export function openFeed(feed: ConfiguredFeed, context: FeedContext): Promise<Feed> {
  const open = KINDS[feed.kind] as (options: ConfiguredFeed & FeedContext) => Promise<Feed>;
  return open({ ...feed, ...context });
}
