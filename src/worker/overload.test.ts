import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Loop } from "../engine/loop.ts";
import { lastingDelay, Overload, type Thresholds } from "./overload.ts";
import { Rate } from "./rate.ts";

/** An overload whose clock and measures the test sets. */
function watched(thresholds: Thresholds) {
  const now = { time: 10_000, sessions: 0, descriptors: 0 };
  const measured = { sessions: () => now.sessions, descriptors: () => now.descriptors, cpu: () => 0 };
  const loop = new Loop();
  const overload = new Overload(
    loop,
    () => thresholds,
    measured,
    () => now.time,
  );
  let changes = 0;
  overload.onChange = () => {
    changes += 1;
  };
  return { now, overload, loop, changes: () => changes, [Symbol.dispose]: () => overload.close() };
}

const asked = (overload: Overload, times: number) =>
  Array.from({ length: times }, () => overload.judge(false) !== undefined);

describe("An overloaded worker", () => {
  test("spares no session below the thresholds, all at one, and every other one at the middle", () => {
    using one = watched({ sessions: 0.9 });
    const { now, overload } = one;
    assert.deepEqual(asked(overload, 2), [false, false]);
    now.sessions = 0.9;
    assert.deepEqual(asked(overload, 3), [true, true, true]);
    now.sessions = 0.74;
    assert.deepEqual(asked(overload, 4), [true, false, true, false]);
    now.sessions = 0.5;
    assert.deepEqual(asked(overload, 2), [false, false]);
    assert.equal(one.changes(), 2);
  });

  test("goes by the measure that is worst, and names it", () => {
    using one = watched({ sessions: 0.9, descriptors: 0.9, memory: 0.5 });
    const { now, overload } = one;
    now.sessions = 0.9;
    assert.match(overload.judge(false) ?? "", /overload\.sessions \(90%\)/);
    now.sessions = 0.7;
    overload.memory = 0.6;
    assert.match(overload.judge(false) ?? "", /overload\.memory \(50%\)/);
    now.sessions = 0;
    assert.equal(overload.report().level, "all");
    overload.memory = 0.1;
    assert.equal(overload.report().level, "none");
    assert.equal(one.changes(), 2);
  });

  test("counts the sessions of the last second, and those that come late", () => {
    using one = watched({ newSessions: 3 });
    const { now, overload } = one;
    for (let session = 0; session < 2; session += 1) overload.arrive();
    assert.equal(overload.judge(false), undefined);
    overload.arrive();
    assert.match(overload.judge(false) ?? "", /overload\.newSessions \(3 a second in this worker\)/);
    now.time += 1_100;
    assert.equal(overload.judge(false), undefined);
  });

  test("means sessions that wait for their turn only when it means all", () => {
    using one = watched({ descriptors: 0.9 });
    const { now, overload } = one;
    now.descriptors = 0.95;
    assert.ok(overload.judge(true));
    now.descriptors = 0.7;
    assert.equal(overload.judge(true), undefined);
    assert.equal(overload.judge(true), undefined);
  });

  test("has those that wait to begin their handshakes judged again at once", async () => {
    using one = watched({ sessions: 0.9 });
    const { now, overload, loop } = one;
    const waiting = [overload.begin(), overload.begin()];
    assert.ok(loop.deferredSince !== undefined);
    now.sessions = 0.9;
    overload.look();
    assert.equal(loop.deferredSince, undefined);
    await Promise.all(waiting);
    // Nobody waits to be told the same.
    await overload.begin();
    assert.ok(overload.judge(true));
    now.sessions = 0.5;
    overload.look();
    const late = overload.begin();
    assert.ok(loop.deferredSince !== undefined);
    await late;
    assert.equal(overload.judge(true), undefined);
  });

  test("does nothing by thresholds that are off", () => {
    using one = watched({});
    one.now.sessions = 1;
    assert.equal(one.overload.judge(false), undefined);
    assert.deepEqual(one.overload.report().measures, []);
  });
});

test("A delay counts when all of four looks have seen it, and half while it falls", () => {
  assert.equal(lastingDelay([]), 0);
  assert.equal(lastingDelay([80, 90, 100]), 0);
  assert.equal(lastingDelay([0, 90, 100, 110]), 0);
  assert.equal(lastingDelay([60, 90, 70, 60]), 60);
  // What a pause of 120 ms leaves behind.
  assert.equal(lastingDelay([120, 100, 80, 60]), 30);
});

test("A rate is that of the last second, whenever it is asked for", () => {
  const rate = new Rate();
  for (let at = 0; at < 10; at += 1) rate.add(50_000 + at * 100);
  assert.equal(rate.at(50_950), 10);
  assert.equal(rate.at(51_450), 5);
  assert.equal(rate.at(99_000), 0);
  rate.add(99_000);
  assert.equal(rate.at(99_001), 1);
});
