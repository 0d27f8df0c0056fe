import { z } from "zod";
import { duration, percentage } from "./formats.ts";

/** `overload` in the configuration file: from when on new sessions are no longer decrypted. */

const off = z.literal("off");
const part = (standard: string) =>
  z
    .union([off, percentage()], { error: 'neither "off" nor a percentage from 1% to 100%, such as 90%' })
    .prefault(standard);

export const OVERLOAD = z.strictObject({
  action: z
    .enum(["bypass", "drop"])
    .default("bypass")
    .describe(
      "What becomes of new sessions that would be decrypted. Those that undecryptable says drop of are dropped.",
    ),
  eventLoopDelay: z
    .union([off, duration({ min: "5ms", max: "1m" })], {
      error: 'neither "off" nor a duration from 5ms to 1m, such as 50ms',
    })
    .prefault("50ms")
    .describe(
      "How long a connection of a worker waits until the worker turns to it, or a new session until its handshakes begin.",
    ),
  cpu: part("off").describe("CPU time that a worker uses, of one core. Downloads alone may use all of it."),
  memory: part("90%").describe("Resident memory of all processes of the node, of what the machine or the cgroup has."),
  descriptors: part("90%").describe("Connections and listening sockets of a worker, of the files that it may open."),
  sessions: part("90%").describe("Live sessions of a worker, of its share of what the node can carry."),
  newSessions: z
    .union([off, z.int().min(1).max(1_000_000)], { error: 'neither "off" nor a number from 1 to 1000000' })
    .default("off")
    .describe("New sessions a second, in all workers together, which share it evenly."),
});
