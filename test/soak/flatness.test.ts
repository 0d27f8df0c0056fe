import assert from "node:assert/strict";
import { test } from "node:test";
import { flatness } from "./flatness.ts";
import { QUANTITIES, type Quantity, type Sample } from "./samples.ts";

const NAMES = Object.keys(QUANTITIES) as Quantity[];

/** A sample each second, in which everything has the value of this moment: a part of the time, from 0 to 1. */
function soakOf(value: (part: number) => number, sessions = (at: number) => at): Sample[] {
  return Array.from({ length: 1001 }, (_, at) => ({
    ...(Object.fromEntries(NAMES.map((name) => [name, value(at / 1000)])) as Record<Quantity, number>),
    ...{ at, sessions: sessions(at) },
  }));
}

const growing = (samples: readonly Sample[]) =>
  flatness(samples).flatMap(({ quantity, isFlat }) => (isFlat ? [] : [quantity]));

test("What rises at first and then stays, or rises for a moment, is flat", () => {
  assert.deepEqual(growing(soakOf((part) => 1000 * Math.min(1, part * 6))), []);
  assert.deepEqual(growing(soakOf((part) => (part > 0.9 ? 10_000 : 1000))), []);
  assert.deepEqual(growing(soakOf((part) => 1000 - 500 * part)), []);
});

test("What rises all the time, or jumps in the middle, is not flat", () => {
  assert.deepEqual(growing(soakOf((part) => 1000 + 1000 * part)), NAMES);
  assert.deepEqual(growing(soakOf((part) => (part > 0.5 ? 1500 : 1000))), NAMES);
});

test("Caches and connections may follow the sessions, which become more on a machine that is less busy", () => {
  const samples = soakOf(
    (part) => (part > 0.5 ? 1500 : 1000),
    (at) => (at > 500 ? 500 + 1.5 * (at - 500) : at),
  );
  assert.deepEqual(
    growing(samples),
    NAMES.filter((name) => !["caches", "connections", "ends"].includes(name)),
  );
});
