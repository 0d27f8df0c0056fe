import assert from "node:assert/strict";
import { test } from "node:test";
import { RetentionClock } from "./retention-clock.ts";

const [SECOND, HOUR, DAY] = [1_000, 3_600_000, 86_400_000];
const NOW = 1_800_000_000_000;

test("The clock passes with the machine's", () => {
  const clock = new RetentionClock(NOW, NOW, 0);
  for (const hours of [0, 1, 2, 100]) assert.equal(clock.now(NOW + hours * HOUR, hours * HOUR), NOW + hours * HOUR);
});

test("A machine's clock that is 40 days ahead for 3 s makes it a little fast, and no more", () => {
  const clock = new RetentionClock(NOW, NOW, 0);
  for (let second = 1; second <= 3; second += 1) {
    const time = clock.now(NOW + 40 * DAY + second * SECOND, second * SECOND);
    assert.ok(time - NOW <= 25 * second * SECOND, `${time - NOW}`);
  }
  assert.equal(clock.now(NOW + 4 * SECOND, 4 * SECOND), NOW + 4 * SECOND);
});

test("A machine's clock that stays ahead is caught up with", () => {
  const clock = new RetentionClock(NOW - 40 * DAY, NOW, 0);
  assert.equal(clock.now(NOW, 0), NOW - 40 * DAY);
  assert.ok(clock.now(NOW + DAY, DAY) < NOW);
  assert.equal(clock.now(NOW + 2 * DAY, 2 * DAY), NOW + 2 * DAY);
});

test("A machine's clock that goes back takes it along, and does not stop it", () => {
  const clock = new RetentionClock(NOW, NOW, 0);
  assert.equal(clock.now(NOW - DAY, SECOND), NOW - DAY);
  assert.equal(clock.now(NOW - DAY + HOUR, SECOND + HOUR), NOW - DAY + HOUR);
});

test("A session on record of a time that has not come does not make it fast", () => {
  const clock = new RetentionClock(NOW + 40 * DAY, NOW, 0);
  assert.equal(clock.now(NOW + SECOND, SECOND), NOW + SECOND);
});
