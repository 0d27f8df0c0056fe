import assert from "node:assert/strict";
import { test } from "node:test";
import { createCounts } from "./counts.ts";
import { type HealthFacts, judgeHealth, worstOf } from "./health-facts.ts";
import { createClockWatch, createLimitWatch } from "./watches.ts";

const NOW = 1_795_000_000_000;
const DAY = 24 * 3600 * 1000;
const WELL: HealthFacts = {
  now: NOW,
  workers: [0, 1].map((id) => ({ id, accepts: true })),
  feeds: [{ name: "archive", state: "running" }],
  logStopped: [],
  tools: [{ name: "ips", state: "up", onFailure: "drop" }],
  history: { state: "running" },
  store: { state: "connected", failures: 0 },
  authorities: [{ role: "primary", keyType: "ecdsa", notBefore: 0, notAfter: NOW + 400 * DAY }],
  keys: [{ id: "k1", hosts: ["www.example.com"], state: "valid" }],
  disks: [{ path: "/data", free: 2 ** 40, size: 2 ** 41 }],
  descriptors: [{ process: "supervisor", open: 40, limit: 1024 }],
  sessions: { live: 10, most: 1000, bound: "limits.sessions" },
  limitsMet: [],
  overload: { level: "none", action: "bypass", workers: [], measures: [] },
  deviations: [],
  conntrack: { entries: 899, most: 1000 },
  clockMoved: 0,
};

test("A node without a fault is ready", () => assert.deepEqual(judgeHealth(WELL), []));

const CASES: readonly (readonly [
  what: string,
  change: Partial<HealthFacts>,
  fact: string,
  status: string,
  says: RegExp,
])[] = [
  ["no worker accepts", { workers: [0, 1].map((id) => ({ id, accepts: false })) }, "workers", "failing", /No worker/],
  [
    "one of two workers is dead",
    { workers: [0, 1].map((id) => ({ id, accepts: id === 0 })) },
    "workers",
    "degraded",
    /Of 2 workers 1/,
  ],
  [
    "a feed has stopped",
    { feeds: [{ name: "archive", state: "stopped", reason: "ENOSPC" }] },
    "feeds",
    "degraded",
    /archive.*ENOSPC/,
  ],
  [
    "a target of the log has stopped",
    { logStopped: [{ target: "/var/log/node", reason: "a write has not ended for 10 s" }] },
    "log",
    "degraded",
    /\/var\/log\/node: a write/,
  ],
  [
    "a tool is down",
    { tools: [{ name: "ips", state: "down", onFailure: "drop", reason: "no heartbeat" }] },
    "tools",
    "degraded",
    /ips.*dropped: no heartbeat/,
  ],
  [
    "a worker is overloaded",
    {
      overload: {
        level: "half",
        action: "drop",
        workers: [1],
        measures: [{ measure: "newSessions", value: 9, threshold: 10, level: "half", worker: 1 }],
      },
    },
    "overload",
    "degraded",
    /Worker 1 is overloaded \(overload\.newSessions\): half of the new sessions are dropped/,
  ],
  ["the history has stopped", { history: { state: "stopped", reason: "EIO" } }, "history", "degraded", /EIO/],
  [
    "the store is gone",
    { store: { state: "alone", reason: "ECONNREFUSED", failures: 1 } },
    "store",
    "degraded",
    /ECONNREFUSED/,
  ],
  [
    "a CA has expired",
    { authorities: [{ role: "primary", keyType: "rsa", notBefore: 0, notAfter: NOW }] },
    "authorities",
    "failing",
    /primary CA \(rsa\) expired/,
  ],
  [
    "a CA expires soon",
    { authorities: [{ role: "primary", keyType: "rsa", notBefore: 0, notAfter: NOW + DAY }] },
    "authorities",
    "degraded",
    /expires on/,
  ],
  [
    "a CA is not valid yet",
    { authorities: [{ role: "primary", keyType: "rsa", notBefore: NOW + 1, notAfter: NOW + DAY }] },
    "authorities",
    "failing",
    /not valid before/,
  ],
  [
    "keys expire",
    { keys: [{ id: "k1", hosts: ["www.example.com"], state: "expires soon" }] },
    "keys",
    "degraded",
    /www\.example\.com/,
  ],
  ["the disk is full", { disks: [{ path: "/data", free: 0, size: 2 ** 41 }] }, "disk", "degraded", /is full: 0 MiB/],
  [
    "the disk hangs",
    { disks: [{ path: "/data", free: 0, size: 0, hangs: true }] },
    "disk",
    "degraded",
    /\/data does not answer/,
  ],
  [
    "descriptors run out",
    { descriptors: [{ process: "worker 0", open: 1000, limit: 1024 }] },
    "descriptors",
    "degraded",
    /worker 0 has 1000/,
  ],
  [
    "the node is nearly full",
    { sessions: { live: 950, most: 1000, bound: "memory" } },
    "overload",
    "degraded",
    /950 of at most 1000.*memory/,
  ],
  ["a limit was met", { limitsMet: ["open files"] }, "overload", "degraded", /open files/],
  ["the rules were changed", { deviations: ["the table inet clearline is gone"] }, "rules", "degraded", /is gone/],
  [
    "the connection table is full",
    { conntrack: { entries: 1000, most: 1000 } },
    "conntrack",
    "degraded",
    /table is full, with 1000 of at most 1000/,
  ],
  ["the clock was set", { clockMoved: -60_000 }, "clock", "degraded", /-60 s/],
];
for (const [what, change, fact, status, says] of CASES) {
  test(`Health: ${what}`, () => {
    const [only, ...others] = judgeHealth({ ...WELL, ...change });
    assert.deepEqual([only?.fact, only?.status, others], [fact, status, []]);
    assert.match(only?.reason ?? "", says);
    assert.notEqual(only?.remedy, "");
  });
}

test("The worst fact comes first, and is the node's health", () => {
  const reasons = judgeHealth({
    ...WELL,
    history: { state: "stopped" },
    authorities: [{ role: "secondary", keyType: "rsa", notBefore: 0, notAfter: 1 }],
  });
  assert.deepEqual(
    reasons.map(({ fact }) => fact),
    ["authorities", "history"],
  );
  assert.equal(worstOf(reasons), "failing");
});

test("A limit that was met is remembered for a minute", () => {
  let now = 0;
  const counts = createCounts();
  const watch = createLimitWatch(counts, () => now);
  counts.add("a", [["refused by memory", 3]]);
  watch.look();
  now = 59_000;
  watch.look();
  assert.deepEqual(watch.met(), ["memory"]);
  now = 61_000;
  assert.deepEqual(watch.met(), []);
});

test("A clock that is set back is told once, whatever was done to it before", () => {
  let difference = 0;
  const { setBack } = createClockWatch(() => difference);
  const told = [40_000_000, 39_999_000, 0, 0, -70_000].map((now) => {
    difference = now;
    return setBack();
  });
  assert.deepEqual(told, [0, 0, 39_999_000, 0, 70_000]);
});

test("A clock that was set is noticed, and one that was set back is not", () => {
  let difference = 5;
  const { moved } = createClockWatch(() => difference);
  assert.equal(moved(), 0);
  difference = -90_000;
  assert.equal(moved(), -90_005);
  difference = 900;
  assert.equal(moved(), 0);
});
