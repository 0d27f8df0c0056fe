import type { LoadName } from "./loads.ts";
import type { SubjectName } from "./subjects.ts";

/** How ours is compared with theirs. Less is better in all of them. */
export type Comparison = "quotient" | "difference" | "added";

/** One row of a table: a load on two subjects, and what their comparison may be at most. */
export interface Row {
  readonly load: LoadName;
  readonly ours: SubjectName;
  readonly theirs: SubjectName;
  /** Absent: the quotient. */
  readonly compare?: Comparison;
  /** Absent: the row only informs. */
  readonly atMost?: number;
}

/** Rows whose subjects run at the same time and take turns. */
export interface Group {
  readonly name: string;
  readonly title: string;
  /** Where the origin is: on loopback, or behind a network of its own, which needs root. */
  readonly place: "loopback" | "networks";
  readonly rows: readonly Row[];
}

const BYTES = ["down 1", "down 32", "up 1", "up 32"] as const;

function rows(loads: readonly LoadName[], ours: SubjectName, theirs: SubjectName, atMost?: number): readonly Row[] {
  return loads.map((load) => ({ load, ours, theirs, ...(atMost !== undefined && { atMost }) }));
}

/** Everything that is measured beside something else. A new row needs no other code unless its subject or its load is new. */
export const GROUPS: readonly Group[] = [
  {
    name: "peers",
    title: "Decrypted sessions beside other programs; nginx intercepts nothing: the limit",
    place: "loopback",
    rows: [
      ...rows([...BYTES, "sessions"], "clearline", "sslsplit", 0.65),
      ...rows(BYTES, "clearline", "nginx stream", 0.9),
      ...rows(["sessions"], "clearline", "nginx stream"),
      // Once the origin has answered, Squid stops reading an upload.
      ...rows(["down 1", "down 32", "sessions"], "clearline", "squid"),
      ...rows([...BYTES, "sessions"], "clearline", "mitmproxy"),
    ],
  },
  {
    name: "resumed",
    title: "New sessions whose server leg is resumed",
    place: "loopback",
    rows: rows(["sessions"], "clearline resumed", "nginx stream resumed", 1.8),
  },
  {
    name: "idle",
    title: "Memory of idle decrypted sessions",
    place: "loopback",
    rows: [
      ...rows(["idle 1,000", "idle 10,000"], "clearline", "sslsplit", 0.95),
      ...rows(["idle 1,000", "idle 10,000"], "clearline", "nginx stream"),
    ],
  },
  {
    name: "bypass",
    title: "Bypassed sessions",
    place: "loopback",
    rows: [
      ...rows(["down 1"], "clearline bypass", "nginx stream no TLS", 0.6),
      ...rows(["down 32", "up 1"], "clearline bypass", "nginx stream no TLS"),
    ],
  },
  {
    name: "feeds",
    title: "Feeds",
    place: "loopback",
    rows: [
      ...rows(["down 1", "down 32"], "clearline pcapng", "clearline", 1.5),
      ...rows(["down 1", "down 32"], "clearline pcap-over-ip", "clearline"),
    ],
  },
  {
    name: "http-view",
    title: "The HTTP view, with the CPU time of its own process",
    place: "loopback",
    rows: [
      ...rows(["down 1", "down 32", "sessions"], "clearline http view", "clearline", 2),
      { load: "beside downloads", ours: "clearline http view", theirs: "clearline", compare: "difference", atMost: 2 },
    ],
  },
  {
    name: "proxy-tool",
    title: "HAProxy as a proxy tool, whose own CPU time does not count",
    place: "loopback",
    rows: [
      ...rows(["down 32"], "clearline haproxy", "clearline", 2),
      ...rows(["down 1"], "clearline haproxy", "clearline"),
    ],
  },
  {
    name: "inside",
    title: "TLS in the TLS that leads to a proxy, whose own CPU time does not count, beside TLS alone",
    place: "loopback",
    rows: rows(["down 1", "down 32", "sessions"], "clearline TLS in TLS", "clearline"),
  },
  {
    name: "latency",
    title: "Latency of small requests on open sessions",
    place: "loopback",
    rows: [
      { load: "beside downloads", ours: "clearline", theirs: "direct", compare: "difference", atMost: 1 },
      { load: "beside downloads", ours: "sslsplit", theirs: "direct", compare: "difference" },
      { load: "beside downloads", ours: "nginx stream", theirs: "direct", compare: "difference" },
      { load: "quarter load", ours: "clearline", theirs: "sslsplit", compare: "added", atMost: 1 },
      { load: "quarter load", ours: "clearline", theirs: "nginx stream", compare: "added" },
    ],
  },
  {
    name: "inline",
    title: "Between two networks: an interface feed, inline tools that only forward, inline",
    place: "networks",
    rows: [
      ...rows(["down 1", "down 32"], "interface feed", "inline", 1.6),
      ...rows(["down 1", "down 32"], "one tool", "inline", 1.8),
      ...rows(["down 1", "down 32"], "two tools", "inline", 2.6),
      ...rows(["down 32", "sessions"], "inline", "explicit"),
      ...rows(["connect"], "inline", "no SYN hold"),
      ...rows(["connect"], "kernel bypass", "no node"),
    ],
  },
];
