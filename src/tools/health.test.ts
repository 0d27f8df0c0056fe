import assert from "node:assert/strict";
import { test } from "node:test";
import { createHealth } from "./health.ts";

const PLAN = { retries: 3, recovery: 5_000 };

test("A tool has failed after `retries` consecutive failures, which is reported once", () => {
  const health = createHealth(PLAN, 0);
  assert.deepEqual([health.fail("a", 1), health.fail("b", 2), health.fail("c", 3)], [false, false, true]);
  assert.deepEqual(health.state, { up: false, since: 3, reason: "c" });
  assert.equal(health.fail("d", 4), false);
  assert.deepEqual(health.state, { up: false, since: 3, reason: "d" });
});

test("A heartbeat that comes through resets the count of failures", () => {
  const health = createHealth(PLAN, 0);
  health.fail("a", 1);
  health.fail("b", 2);
  health.succeed(3);
  assert.deepEqual([health.fail("c", 4), health.fail("d", 5)], [false, false]);
  assert.equal(health.state.up, true);
});

test("A tool that has failed is used again when its heartbeats have come through for the recovery time", () => {
  const health = createHealth(PLAN, 0);
  for (const at of [1, 2, 3]) health.fail("it is gone", at);
  assert.deepEqual([health.succeed(1_000), health.succeed(5_999), health.succeed(6_000)], [false, false, true]);
  assert.deepEqual(health.state, { up: true, since: 6_000, reason: "it is gone" });
});

test("A failure during the recovery starts it again", () => {
  const health = createHealth(PLAN, 0);
  for (const at of [1, 2, 3]) health.fail("it is gone", at);
  health.succeed(1_000);
  health.fail("it is gone again", 3_000);
  assert.deepEqual([health.succeed(4_000), health.succeed(8_999), health.succeed(9_000)], [false, false, true]);
});
