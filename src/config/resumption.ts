import { z } from "zod";
import { duration, label, storeUrl } from "./formats.ts";

/** `resumption` in the configuration file: how peers come back, and what nodes share for it. */
export const RESUMPTION = z.strictObject({
  identifiers: z.boolean().default(true).describe("Clients come back by session identifier: TLS 1.2 and older."),
  tickets: z.boolean().default(false).describe("Clients come back by ticket: TLS 1.2, and the only way in TLS 1.3."),
  ticketRotation: duration({ min: "1m", max: "7d" })
    .prefault("1h")
    .describe("How long a key makes tickets; it opens them for as long again."),
  servers: z.boolean().default(true).describe("The node comes back to servers, in whatever way they offer."),
  shareServers: z
    .boolean()
    .default(false)
    .describe("A session with a server, begun for one client, may be used for another one."),
  timeout: duration({ min: "1s", max: "1d" })
    .prefault("5m")
    .describe("From a full handshake to the last one that may be abbreviated."),
  sessions: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(20_000)
    .describe("How many sessions with clients are kept, and how many with servers."),
  shared: storeUrl()
    .optional()
    .describe("Valkey or Redis that several nodes share, such as redis://10.0.0.7:6379; rediss:// with TLS."),
  secret: z
    .string()
    .min(1)
    .optional()
    .describe(
      "A file of 32 bytes or more that all nodes have: what they share is sealed with it. Default: the primary CA's key.",
    ),
  node: label().optional().describe("Names this node to the others. Default: the host's name."),
  wait: duration({ min: "1ms", max: "1s" })
    .prefault("50ms")
    .describe("The longest that a handshake waits for the shared store."),
});
