import { z } from "zod";
import { duration, label, storeUrl } from "./formats.ts";

/** `resumption` in the configuration file: how peers resume sessions, and what nodes share for it. */
export const RESUMPTION = z.strictObject({
  identifiers: z.boolean().default(true).describe("Clients may resume by session identifier, in TLS 1.2 and older."),
  tickets: z
    .boolean()
    .default(false)
    .describe("Clients may resume by ticket, in TLS 1.2 and 1.3. TLS 1.3 has no other way."),
  ticketRotation: duration({ min: "1m", max: "7d" })
    .prefault("1h")
    .describe("How long a key encrypts new tickets. It decrypts them for as long again."),
  servers: z.boolean().default(true).describe("The node resumes sessions with servers, by the means that they offer."),
  shareServers: z
    .boolean()
    .default(false)
    .describe("The node may resume a session with a server for a client other than the one it was made for."),
  timeout: duration({ min: "1s", max: "1d" })
    .prefault("5m")
    .describe("How long after a full handshake a session may be resumed."),
  sessions: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(20_000)
    .describe("How many sessions with clients are cached, and how many with servers."),
  shared: storeUrl()
    .optional()
    .describe("A Valkey or Redis server that several nodes share, such as redis://10.0.0.7:6379. rediss:// uses TLS."),
  secret: z
    .string()
    .min(1)
    .optional()
    .describe(
      "A file of 32 bytes or more, the same on all nodes, that encrypts what they share. Absent: the primary CA's key is used.",
    ),
  node: label().optional().describe("This node's name, shown to the others. Default: the host name."),
  wait: duration({ min: "1ms", max: "1s" })
    .prefault("50ms")
    .describe("The longest time that a handshake waits for the shared store."),
});
