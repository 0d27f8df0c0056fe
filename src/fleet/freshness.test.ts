import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOCKS, Freshness } from "./freshness.ts";

const NOW = 1_800_000_000_000;

test("A message is taken once, and in the order in which it was sent", () => {
  const freshness = new Freshness();
  const send = (sequence: number, at = NOW) => freshness.takes({ from: "a", at, sequence }, NOW);
  assert.deepEqual(
    [send(1), send(1), send(2), send(5), send(3), send(5), send(6)],
    [true, false, true, true, false, false, true],
  );
});

test("Nodes count each on their own", () => {
  const freshness = new Freshness();
  for (const from of ["a", "b", "c"]) assert.ok(freshness.takes({ from, at: NOW, sequence: 1 }, NOW));
  for (const from of ["a", "b", "c"]) assert.ok(!freshness.takes({ from, at: NOW, sequence: 1 }, NOW));
});

test("A message of another time is not taken, whoever sent it", () => {
  const freshness = new Freshness();
  for (const [at, isTaken] of [
    [NOW - CLOCKS - 1, false],
    [NOW + CLOCKS + 1, false],
    [NOW - CLOCKS, true],
    [NOW + CLOCKS, true],
    [Number.NaN, false],
  ] as const)
    assert.equal(freshness.takes({ from: `${at}`, at, sequence: 1 }, NOW), isTaken, `${at - NOW}`);
});

test("A node is forgotten only when none of its messages can be taken any more", () => {
  const freshness = new Freshness();
  const ahead = { from: "ahead", at: NOW + CLOCKS, sequence: 7 };
  assert.ok(freshness.takes(ahead, NOW));
  // Its clock went back, or its messages were turned around.
  assert.ok(freshness.takes({ ...ahead, at: NOW - CLOCKS, sequence: 8 }, NOW));
  for (let minutes = 0; minutes < 4; minutes += 1) {
    const now = NOW + minutes * 60_000;
    freshness.takes({ from: `other ${minutes}`, at: now, sequence: 1 }, now);
    assert.ok(!freshness.takes(ahead, now), `${minutes} min`);
  }
});
