import assert from "node:assert/strict";
import { test } from "node:test";
import type { OrderedStep } from "./explain.ts";
import { type Decision, HitCounts } from "./hits.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOW = 1_790_000_000_000;

const ORDER: readonly OrderedStep[] = [
  { phase: "network", group: "bypass list", name: "bypass list", action: "bypass" },
  { phase: "sni", group: "bypass list", name: "bypass list", action: "bypass" },
  { phase: "sni", group: "bypasses", name: "bypass", action: "bypass" },
  { phase: "sni", group: "decrypt rules", name: "banking", action: "decrypt" },
  { phase: "certificate", group: "certificate faults: expired", name: "certificate fault", action: "drop" },
  { phase: "certificate", group: "certificate faults: selfSigned", name: "certificate fault", action: "drop" },
  { phase: "certificate", group: "default", name: "default", action: "decrypt" },
];
const [LIST_NETWORK, LIST_SNI, BYPASS, BANKING, EXPIRED, SELF_SIGNED, DEFAULT] = ORDER.keys() as Iterable<number>;

const byDefault: Decision = { rule: "default", phase: "certificate", verdict: "decrypt", faults: [] };
const byRule: Decision = { rule: "banking", phase: "sni", verdict: "decrypt", faults: [] };

function hitsOf(counts: HitCounts, entry: number | undefined, now = NOW) {
  const { hour, day } = counts.of(ORDER, now)[entry!]!;
  return [hour, day];
}

test("A session counts for the entry that decided it, and no longer for the one of an earlier verdict", () => {
  const counts = new HitCounts();
  counts.note(byRule, undefined, NOW);
  counts.note(byRule, byRule, NOW);
  assert.deepEqual(hitsOf(counts, BANKING), [1, 1]);
  counts.note(byDefault, byRule, NOW);
  assert.deepEqual(
    [hitsOf(counts, BANKING), hitsOf(counts, DEFAULT)],
    [
      [0, 0],
      [1, 1],
    ],
  );
  counts.note({ rule: null, phase: null, verdict: null, faults: [] }, byDefault, NOW);
  assert.deepEqual(hitsOf(counts, DEFAULT), [0, 0]);
});

test("An hour and a day after a session, it is no longer in the counts", () => {
  const counts = new HitCounts();
  counts.note(byDefault, undefined, NOW);
  assert.deepEqual(hitsOf(counts, DEFAULT, NOW + 50 * MINUTE), [1, 1]);
  assert.deepEqual(hitsOf(counts, DEFAULT, NOW + HOUR + 5 * MINUTE), [0, 1]);
  counts.note(byDefault, undefined, NOW + 23 * HOUR);
  assert.deepEqual(hitsOf(counts, DEFAULT, NOW + 23 * HOUR), [1, 2]);
  assert.deepEqual(hitsOf(counts, DEFAULT, NOW + 24 * HOUR + 5 * MINUTE), [0, 1]);
  counts.note(byDefault, undefined, NOW + 100 * HOUR);
  assert.deepEqual(hitsOf(counts, DEFAULT, NOW + 100 * HOUR), [1, 1]);
});

test("A clock that was set back neither loses counts nor fails", () => {
  const counts = new HitCounts();
  counts.note(byDefault, undefined, NOW);
  counts.note(byDefault, undefined, NOW - 40 * HOUR);
  assert.deepEqual(hitsOf(counts, DEFAULT), [2, 2]);
});

test("Lists count in the phase where they decided, bypasses together, and each fault of a certificate apart", () => {
  const counts = new HitCounts();
  const list = { rule: "bypass list", verdict: "bypass", faults: [] } as const;
  for (const phase of ["network", "sni", "certificate"] as const) counts.note({ ...list, phase }, undefined, NOW);
  assert.deepEqual(
    [hitsOf(counts, LIST_NETWORK), hitsOf(counts, LIST_SNI)],
    [
      [1, 1],
      [2, 2],
    ],
  );
  for (const id of ["0000000a", "0000000b"])
    counts.note({ rule: `bypass ${id}`, phase: "sni", verdict: "bypass", faults: [] }, undefined, NOW);
  assert.deepEqual(hitsOf(counts, BYPASS), [2, 2]);
  const fault = { rule: "certificate fault", phase: "certificate", verdict: "drop" } as const;
  counts.note({ ...fault, faults: ["expired", "selfSigned"] }, undefined, NOW);
  counts.note({ ...fault, faults: ["selfSigned"] }, undefined, NOW);
  assert.deepEqual(
    [hitsOf(counts, EXPIRED), hitsOf(counts, SELF_SIGNED)],
    [
      [1, 1],
      [2, 2],
    ],
  );
});

test("What an entry with another action decided earlier does not count for it", () => {
  const counts = new HitCounts();
  counts.note({ ...byRule, verdict: "bypass" }, undefined, NOW);
  assert.deepEqual(hitsOf(counts, BANKING), [0, 0]);
});

test("However many rules come and go, the oldest counts make room", () => {
  const counts = new HitCounts();
  counts.note(byRule, undefined, NOW - HOUR);
  for (let index = 0; index < 4_096; index += 1) counts.note({ ...byRule, rule: `rule ${index}` }, undefined, NOW);
  counts.note(byDefault, undefined, NOW);
  assert.deepEqual(
    [hitsOf(counts, BANKING), hitsOf(counts, DEFAULT)],
    [
      [0, 0],
      [1, 1],
    ],
  );
});
