import { parse } from "node:path";
import { z } from "zod";
import { duration, hostPort, interfaceName, isLoopbackHost, label, portMap, size, textOf } from "./formats.ts";
import { anyOf, type FileSeries, type Row, row } from "./row.ts";

/** `feeds` in the configuration file: where copies of the sessions go. */

const common = {
  name: label().describe("The feed's name in sessions and metrics."),
};

const filter = {
  ports: portMap()
    .default({})
    .describe(
      "The server ports that the packets of decrypted sessions show: { 443: 80 }, so that analysers expect HTTP there; default: for all others.",
    ),
  flows: z
    .array(z.enum(["decrypted", "bypassed", "notTls"]))
    .min(1)
    .default(["decrypted", "notTls"])
    .describe(
      "The sessions to copy: decrypted; bypassed, as the TLS bytes that passed; notTls, which is TCP without TLS.",
    ),
  alpn: z
    .enum(["http/1.1"])
    .optional()
    .describe(
      "Do not negotiate HTTP/2 in the decrypted sessions that this feed copies, for analysers that do not read it.",
    ),
  rules: z
    .array(z.string().trim().min(1))
    .min(1)
    .optional()
    .describe("Copy only the sessions that one of these rules, lists or built-ins (such as `default`) decided."),
};

const commentMark = z
  .strictObject({
    comment: z
      .string()
      .trim()
      .min(1)
      .max(200)
      .describe("A comment that is written to every packet of a decrypted session."),
  })
  .optional();

const segment = z
  .enum(["offload", "mtu"])
  .default("offload")
  .describe(
    "offload: packets of up to 64 KiB without complete TCP checksums, as captured where the network card cuts segments. mtu: one packet for each segment of an MTU of 1,500 bytes, with its checksum; it costs more CPU time.",
  );

const macAddress = () =>
  z.string().regex(/^[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}$/, { error: "not a MAC address such as 02:00:00:00:00:0a" });

const file = z.string().min(1);

const rotation = {
  rotate: size({ min: "4KiB", max: "1TiB" }).prefault("100MB").describe("Begin a new file at this size."),
  rotateAfter: duration({ min: "1s", max: "365d" })
    .optional()
    .describe("Begin a new file also at this age, such as 1h. Absent: only the size counts."),
  keep: z.int().min(1).max(100_000).default(10).describe("How many files are kept; the oldest are deleted."),
};

const pcapng = z.strictObject({
  ...common,
  kind: z.literal("pcapng").describe("Packets in pcapng files."),
  directory: file.describe("The folder that the files are written to."),
  ...rotation,
  segment,
  mark: commentMark,
  ...filter,
});

const pcapOverIp = z.strictObject({
  ...common,
  kind: z.literal("pcap-over-ip").describe("Packets for programs that connect: Wireshark, tshark, Arkime."),
  address: hostPort().describe("Where the programs connect. This connection is not encrypted."),
  format: z
    .enum(["pcapng", "pcap"])
    .default("pcapng")
    .describe("The file format. pcap has no comments, but some programs read nothing else."),
  segment,
  mark: commentMark,
  ...filter,
});

const networkInterface = z.strictObject({
  ...common,
  kind: z.literal("interface").describe("Packets on a network interface, for an IDS. Needs CAP_NET_RAW."),
  interface: interfaceName().describe("An Ethernet interface that leads to the IDS and nowhere else."),
  clientMac: macAddress().default("02:43:4c:00:00:0a").describe("The MAC address of every client."),
  serverMac: macAddress().default("02:43:4c:00:00:0b").describe("The MAC address of every server."),
  destinationMac: macAddress()
    .optional()
    .describe("The destination of every frame, such as a sensor behind a switch. Absent: clientMac or serverMac."),
  mark: z
    .strictObject({
      vlan: z.int().min(1).max(4094).describe("The 802.1Q tag on every frame of a decrypted session."),
    })
    .optional(),
  ...filter,
});

const keylog = z.strictObject({
  ...common,
  kind: z
    .literal("keylog")
    .describe("The TLS keys of both legs, in the NSS key log format. Anyone with these keys can decrypt the sessions."),
  file: file.describe("The file that the keys are appended to."),
  ...rotation,
});

const tlsLog = z.strictObject({
  ...common,
  kind: z.literal("tls-log").describe("One line of JSON for each TLS session: what an IDS would know of its TLS."),
  file: file.describe("The file that the lines are appended to."),
  ...rotation,
  format: z
    .enum(["eve", "zeek"])
    .default("eve")
    .describe("eve: as the tls events in Suricata's eve.json. zeek: as Zeek's ssl.log in JSON."),
  rules: filter.rules,
});

const http = z.strictObject({
  ...common,
  kind: z
    .literal("http")
    .describe(
      "HTTP/1.x, HTTP/2 and WebSocket, read in a process of its own: transactions, HAR, and sessions as text. There may be one.",
    ),
  directory: file
    .optional()
    .describe("The folder for one line of JSON for each transaction. Absent: transactions are in memory only."),
  ...rotation,
  bodies: z
    .boolean()
    .default(false)
    .describe(
      "Write the bodies, decoded, to the lines and to HAR files, too. Absent: they are in memory only, and in a HAR only on request.",
    ),
  limits: z
    .strictObject({
      memory: size({ min: "1MiB", max: "64GiB" })
        .prefault("64MiB")
        .describe("The plaintext of all sessions that is held in memory; the oldest goes first."),
      session: size({ min: "64KiB", max: "16GiB" })
        .prefault("16MiB")
        .describe("The plaintext of one session that is held: its first bytes."),
      body: size({ min: "1KiB", max: "64MiB" })
        .prefault("1MiB")
        .describe("The most of one body that is shown or written, decoded."),
    })
    .prefault({}),
  ports: portMap()
    .default({ default: 80 })
    .describe(
      "The server ports that the packets of `clearline pcap` show. By default all are 80, so that analysers expect HTTP.",
    ),
  flows: filter.flows,
  alpn: filter.alpn,
  rules: filter.rules,
});

/** The file that is written keeps its name; the older ones beside it have names of a series. */
function linesIn({ file }: { readonly file: string }): readonly FileSeries[] {
  const { dir: directory, name: stem, ext } = parse(file);
  return [{ key: "file", directory, stem, extension: ext.slice(1) }];
}

export const FEEDS = {
  pcapng: row(pcapng, {
    place: ({ directory }) => directory,
    writes: ({ name, directory }) => [{ key: "directory", directory, stem: name, extension: "pcapng" }],
    withFiles: (feed, at) => ({ ...feed, directory: at(feed.directory) }),
  }),
  "pcap-over-ip": row(pcapOverIp, {
    place: ({ address }) => textOf(address),
    conflicts: ({ format, mark }) =>
      format === "pcap" && mark ? [{ path: "mark", says: "needs format pcapng: pcap has no comments on packets" }] : [],
    // A feed that cannot listen reports it and tries again; the node runs without it.
    listensAt: ({ address }) => [{ key: "address", address, required: false }],
    warnings: ({ address }) =>
      isLoopbackHost(address.host)
        ? []
        : [
            {
              path: "address",
              says: `is ${textOf(address)}: ANYONE WHO CAN CONNECT TO IT READS THE PLAINTEXT, without a password and unencrypted. Use 127.0.0.1 and a tunnel, or restrict it with a firewall`,
            },
          ],
  }),
  interface: row(networkInterface, {
    place: (feed) => feed.interface,
    interfaces: (feed) => [{ key: "interface", name: feed.interface, inPath: false }],
  }),
  keylog: row(keylog, {
    place: (feed) => feed.file,
    writes: linesIn,
    withFiles: (feed, at) => ({ ...feed, file: at(feed.file) }),
    warnings: (feed) => [
      {
        path: "",
        says: `WRITES THE TLS KEYS OF EVERY SESSION to ${feed.file}: anyone who reads that file can decrypt them all, including recorded ones and the handshakes of bypassed hosts. Remove the feed when you are done`,
      },
    ],
  }),
  "tls-log": row(tlsLog, {
    place: (feed) => feed.file,
    writes: linesIn,
    withFiles: (feed, at) => ({ ...feed, file: at(feed.file) }),
  }),
  http: row(http, {
    place: ({ directory }) => directory ?? "in memory; see: clearline transactions",
    writes: ({ name, directory }) =>
      directory === undefined ? [] : [{ key: "directory", directory, stem: name, extension: "jsonl" }],
    withFiles: (feed, at) => (feed.directory === undefined ? feed : { ...feed, directory: at(feed.directory) }),
    conflicts: ({ limits }) =>
      limits.session > limits.memory
        ? [{ path: "limits.session", says: "is more than limits.memory, which is for all sessions" }]
        : [],
    conflictsAmong: ([first, ...others]) =>
      others.map(({ path }) => ({ path, says: `is a second feed of kind http; the first is ${first?.path}` })),
    warnings: ({ bodies, directory }) =>
      bodies && directory !== undefined
        ? [{ path: "bodies", says: `is true: passwords and all else that sessions carry are written to ${directory}` }]
        : [],
  }),
};

export const FEED = anyOf("kind", FEEDS);
export type FeedConfig = z.output<typeof FEED>;

export function feedRow({ kind }: FeedConfig): Row<FeedConfig> {
  return FEEDS[kind];
}

/** Where a feed's copies go, on one line for the user: a folder, an address, an interface, a file. */
export function feedPlace(feed: FeedConfig): string {
  return feedRow(feed).place(feed);
}
