import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkerStatus } from "../messages.ts";
import { createCounts, KEYS } from "./counts.ts";

/** A worker's status: so many packets in the feed, cache hits and strangers, and seconds of CPU time. */
function statusOf(packets: number | undefined, others = 0): WorkerStatus {
  const counters = { name: "archive", kind: "pcapng", state: "running", reason: undefined } as const;
  return {
    sessions: 0,
    turnedAway: [{ limit: "open files", refused: others, evicted: others }],
    overload: { level: "none", measures: [], bypassed: others, dropped: others },
    memory: 0,
    heap: 0,
    handles: 0,
    engine: { ends: 0, connections: 0, contexts: 0, writePairs: 0 },
    cpu: others,
    delay: undefined,
    dns: { negative: others, waiting: 0 },
    feeds: packets === undefined ? [] : [{ ...counters, sessions: 1, packets, bytes: packets * 10, dropped: 0 }],
    tools: [{ name: "ips", sessions: 0, strangers: others }],
    caches: [{ name: "issued", size: 1, limit: 10, hits: others, misses: others }],
  };
}

const PACKETS = KEYS.feed("pcapng", "archive", "packets");
const OTHERS = [
  KEYS.dnsNegative,
  KEYS.strangers("ips"),
  KEYS.cache("issued", "hits"),
  KEYS.cache("issued", "misses"),
  KEYS.cpu(0),
  KEYS.turnedAway("open files", "refused"),
  KEYS.overloaded("bypassed"),
  KEYS.overloaded("dropped"),
];

test("Totals are the sums of all workers", () => {
  const counts = createCounts();
  counts.report(0, statusOf(3));
  counts.report(0, statusOf(5));
  counts.report(1, statusOf(7));
  assert.equal(counts.total(PACKETS), 12);
  assert.equal(counts.total("feed pcapng none packets"), 0);
});

test("A worker's death takes nothing from the totals, and its successor adds to them", () => {
  const counts = createCounts();
  counts.report(0, statusOf(5, 2));
  counts.end(0);
  assert.equal(counts.total(PACKETS), 5);
  // More than the dead worker had counted: all of it is new.
  counts.report(0, statusOf(6, 3));
  assert.equal(counts.total(PACKETS), 11);
  for (const key of OTHERS) assert.equal(counts.total(key), 5, key);
});

test("A feed that a reload removes and adds again goes on from its total", () => {
  const counts = createCounts();
  counts.report(0, statusOf(5));
  counts.report(0, statusOf(undefined));
  counts.report(0, statusOf(6));
  assert.equal(counts.total(PACKETS), 11);
});

test("A feed that began again between two reports does not take its total down", () => {
  const counts = createCounts();
  counts.report(0, statusOf(5));
  counts.report(0, statusOf(1));
  assert.equal(counts.total(PACKETS), 6);
});

test("What the kernel counts adds to what the workers count", () => {
  const counts = createCounts();
  counts.report(0, statusOf(0, 2));
  counts.add("kernel", [[KEYS.strangers("ips"), 4]]);
  counts.add("kernel", [[KEYS.strangers("ips"), 4]]);
  assert.equal(counts.total(KEYS.strangers("ips")), 6);
});
