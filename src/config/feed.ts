import { z } from "zod";
import { duration, hostPort, interfaceName, label, size, textOf } from "./formats.ts";

/** The feeds of the configuration file: where copies go, and what there is to say of a place. */

const common = {
  name: label().describe("Names the feed in sessions and metrics."),
};

const filter = {
  flows: z
    .array(z.enum(["decrypted", "bypassed", "notTls"]))
    .min(1)
    .default(["decrypted", "notTls"])
    .describe("Which sessions: decrypted; bypassed, as the TLS bytes that passed; TCP that is not TLS."),
  rules: z
    .array(z.string().trim().min(1))
    .min(1)
    .optional()
    .describe("Only sessions that one of these rules, lists or built-ins decided, `default` say."),
};

const commentMark = z
  .strictObject({
    comment: z.string().trim().min(1).max(200).describe("The comment of every packet of a decrypted session."),
  })
  .optional();

const macAddress = () =>
  z.string().regex(/^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}$/, { error: "not a MAC address such as 02:00:00:00:00:0a" });

const feedFile = z.string().min(1);

export const FEED = z.discriminatedUnion("kind", [
  z.strictObject({
    ...common,
    kind: z.literal("pcapng").describe("Packets in pcapng files."),
    directory: feedFile.describe("Where the files are written."),
    rotate: size({ min: "4KiB", max: "1TiB" }).prefault("100MB").describe("The size at which a new file is begun."),
    rotateAfter: duration({ min: "1s", max: "365d" })
      .optional()
      .describe("The age at which a new file is begun, 1h say; without it only the size counts."),
    keep: z.int().min(1).max(100_000).default(10).describe("How many files are kept."),
    mark: commentMark,
    ...filter,
  }),
  z.strictObject({
    ...common,
    kind: z.literal("pcap-over-ip").describe("Packets for programs that connect: Wireshark, tshark, Arkime."),
    address: hostPort().describe("Where they connect. What passes there is not encrypted."),
    format: z.enum(["pcapng", "pcap"]).default("pcapng").describe("pcap has no comments; some programs read only it."),
    mark: commentMark,
    ...filter,
  }),
  z.strictObject({
    ...common,
    kind: z.literal("interface").describe("Packets on a network interface, for an IDS; needs CAP_NET_RAW."),
    interface: interfaceName().describe("An Ethernet interface that leads to the IDS and nowhere else."),
    clientMac: macAddress().default("02:43:4c:00:00:0a").describe("The MAC address of every client."),
    serverMac: macAddress().default("02:43:4c:00:00:0b").describe("The MAC address of every server."),
    destinationMac: macAddress().optional().describe("Every frame goes to this one: a sensor behind a switch."),
    mark: z
      .strictObject({
        vlan: z.int().min(1).max(4094).describe("The 802.1Q tag of every frame of a decrypted session."),
      })
      .optional(),
    ...filter,
  }),
  z.strictObject({
    ...common,
    kind: z.literal("keylog").describe("The TLS keys of both legs, in the NSS format: who has them reads everything."),
    file: feedFile.describe("What the keys are appended to."),
  }),
]);

export type FeedConfig = z.output<typeof FEED>;

/** Where a feed's copies go, on one line for people: a folder, an address, an interface, a file. */
export function feedPlace(feed: FeedConfig): string {
  switch (feed.kind) {
    case "pcapng":
      return feed.directory;
    case "pcap-over-ip":
      return textOf(feed.address);
    case "interface":
      return feed.interface;
    case "keylog":
      return feed.file;
  }
}

/** The same with its file name absolute. */
export function resolvedFeed(feed: FeedConfig, at: (name: string) => string): FeedConfig {
  if (feed.kind === "pcapng") return { ...feed, directory: at(feed.directory) };
  if (feed.kind === "keylog") return { ...feed, file: at(feed.file) };
  return feed;
}

const LOOPBACK = /^(?:localhost|127\..*|::1)$/;

/** What works, and hands out more than its owner may think: one sentence each. */
export function feedWarnings(feeds: readonly FeedConfig[]): string[] {
  return feeds.flatMap((feed, index) => {
    if (feed.kind === "keylog") {
      return [
        `feeds[${index}] WRITES THE TLS KEYS OF EVERY SESSION to ${feed.file}: whoever reads that file can decrypt all of them, recorded ones and bypassed hosts' handshakes included. Remove the feed when you are done`,
      ];
    }
    if (feed.kind === "pcap-over-ip" && !LOOPBACK.test(feed.address.host)) {
      return [
        `feeds[${index}].address is ${textOf(feed.address)}: ANYONE WHO REACHES IT READS THE PLAINTEXT, without a password and unencrypted. Use 127.0.0.1 and a tunnel, or let a firewall guard it`,
      ];
    }
    return [];
  });
}
