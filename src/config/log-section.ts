import { z } from "zod";
import { LOG_LEVELS } from "../vocabulary.ts";
import { duration, hostPort, size } from "./formats.ts";
import { anyOf, type Row, row } from "./row.ts";

/** `log` and `webhooks` in the configuration file: who is told what the node does. */

const file = z.string().min(1);

const stderr = z.strictObject({
  kind: z.literal("stderr").describe("Standard error: the terminal, the container's log, or the journal."),
  format: z
    .enum(["auto", "text", "json"])
    .default("auto")
    .describe("auto: text on a terminal, JSON elsewhere. In systemd's journal each line has its priority."),
});

const files = z.strictObject({
  kind: z.literal("file").describe("Files of JSON lines."),
  directory: file.describe("The folder that the files are written to."),
  rotate: size({ min: "4KiB", max: "1TiB" }).prefault("100MB").describe("Begin a new file at this size."),
  rotateAfter: duration({ min: "1m", max: "365d" })
    .optional()
    .describe("Begin a new file also at this age, such as 1d. Absent: only the size counts."),
  keep: z.int().min(1).max(100_000).default(10).describe("How many files are kept; the oldest are deleted."),
});

/** RFC 5424, section 6.2.1. */
export const FACILITIES = {
  ...{ kern: 0, user: 1, mail: 2, daemon: 3, auth: 4, syslog: 5, authpriv: 10, ftp: 11 },
  ...{ local0: 16, local1: 17, local2: 18, local3: 19, local4: 20, local5: 21, local6: 22, local7: 23 },
} as const;
type Facility = keyof typeof FACILITIES;

const syslog = z.strictObject({
  kind: z.literal("syslog").describe("A syslog server (RFC 5424), with the JSON line as the message."),
  address: hostPort().describe("The server: 10.0.0.7:514."),
  transport: z
    .enum(["udp", "tcp", "tls"])
    .default("udp")
    .describe("udp: RFC 5426; tcp: RFC 6587 with octet counting; tls: RFC 5425, whose port is 6514."),
  facility: z
    .enum(Object.keys(FACILITIES) as [Facility, ...Facility[]])
    .default("daemon")
    .describe("The facility of the messages."),
  trust: file
    .optional()
    .describe("tls: a PEM file with the roots that the server's certificate must reach. Absent: the system's."),
});

/** How the files of a target are named. */
export const LOG_FILES = { stem: "clearline", extension: "jsonl" } as const;

const TARGETS = {
  stderr: row(stderr, { place: () => "standard error" }),
  file: row(files, {
    place: ({ directory }) => directory,
    writes: ({ directory }) => [{ key: "directory", directory, ...LOG_FILES }],
  }),
  syslog: row(syslog, { place: ({ address: { host, port } }) => `${host} port ${port}` }),
};
export const LOG_TARGET = anyOf("kind", TARGETS);
export type LogTarget = z.output<typeof LOG_TARGET>;

export function targetRow({ kind }: LogTarget): Row<LogTarget> {
  return TARGETS[kind];
}

export const LOG = z.strictObject({
  level: z
    .enum([...LOG_LEVELS, "silent"])
    .default("info")
    .describe("The lowest level that is logged."),
  sessions: z
    .boolean()
    .default(false)
    .describe("Log one line for each session at its end, at level info, with the names of the Elastic Common Schema."),
  targets: z
    .array(LOG_TARGET)
    .min(1)
    .max(16)
    .prefault([{ kind: "stderr" }])
    .describe("Where the log goes. Absent: standard error alone."),
});

/** What webhooks are told of, and what each means to a user. */
export const EVENTS = {
  "ca.made": "The node made a CA: clients must trust it.",
  "reload.failed": "A configuration could not be loaded; the old one stays.",
  "worker.died": "A worker ended, and its sessions with it.",
  "tool.down": "A tool has failed.",
  "tool.up": "A tool works again.",
  "feed.down": "A feed has stopped.",
  "feed.up": "A feed runs again.",
  "sessions.refused": "A limit turned connections away; once a minute at most.",
  "overload.begun": "The node is overloaded: new sessions are not decrypted.",
  "overload.ended": "It no longer is.",
  "expiry.near": "A CA or an inbound certificate has expired or will soon; once a day.",
} as const;
export type EventName = keyof typeof EVENTS;
export const EVENT_NAMES = Object.keys(EVENTS) as [EventName, ...EventName[]];

const webhook = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: "not an http or https URL" })
    .describe("Where events are sent to by POST, as JSON."),
  events: z.array(z.enum(EVENT_NAMES)).min(1).default(EVENT_NAMES).describe("Which events."),
  secret: file
    .optional()
    .describe(
      "A file of 16 bytes or more. With it each request is signed: the header X-Clearline-Signature is sha256= and the HMAC of time, a dot and the body.",
    ),
  timeout: duration({ min: "100ms", max: "1m" }).prefault("5s").describe("For one request."),
});
export const WEBHOOKS = z.array(webhook).max(16).default([]);
export type WebhookConfig = z.output<typeof webhook>;
