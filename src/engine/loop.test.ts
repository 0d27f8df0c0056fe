import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Loop, type Task } from "./loop.ts";

/** A loop, and tasks that note their names when they run. */
function noting(overdue?: number) {
  const loop = new Loop(overdue);
  const ran: string[] = [];
  const task = (name: string, more: () => boolean = () => false): Task => ({
    queued: false,
    run() {
      ran.push(name);
      return more();
    },
    fail(error) {
      throw error;
    },
  });
  const soon = () => new Promise((resolve) => setImmediate(resolve));
  const quiet = async () => {
    for (let before = -1; before !== ran.length; ) {
      before = ran.length;
      await soon();
      await soon();
    }
  };
  return { loop, ran, task, quiet };
}

describe("A deferred task", () => {
  test("runs once, behind what is ready, also behind what becomes ready meanwhile", async () => {
    const { loop, ran, task, quiet } = noting(Number.POSITIVE_INFINITY);
    loop.defer(task("begin"));
    loop.enqueue(
      task("one", () => {
        loop.enqueue(task("two"));
        return false;
      }),
    );
    await quiet();
    assert.deepEqual(ran, ["one", "two", "begin"]);
  });

  test("runs before what has been at work for long", async () => {
    const { loop, ran, task, quiet } = noting();
    let left = 3;
    loop.enqueue(task("long", () => --left > 0));
    loop.defer(task("begin"));
    await quiet();
    assert.ok(ran.indexOf("begin") < ran.lastIndexOf("long"), ran.join());
    assert.equal(ran.filter((name) => name === "long").length, 3);
  });

  test("runs all the same when it is overdue", async () => {
    const { loop, ran, task, quiet } = noting(-1);
    loop.enqueue(task("one"));
    loop.defer(task("begin"));
    loop.enqueue(task("two"));
    await quiet();
    assert.deepEqual(ran, ["begin", "one", "two"]);
  });

  test("keeps its place, and all come to run", async () => {
    const { loop, ran, task, quiet } = noting();
    const names = Array.from({ length: 20 }, (_, index) => String(index));
    assert.equal(loop.deferredSince, undefined);
    for (const name of names) loop.defer(task(name));
    assert.ok(loop.deferredSince !== undefined);
    await quiet();
    assert.deepEqual(ran, names);
    assert.equal(loop.deferredSince, undefined);
  });

  test("is ready at once when the loop is told to hurry", async () => {
    const { loop, ran, task, quiet } = noting();
    const names = Array.from({ length: 10 }, (_, index) => String(index));
    for (const name of names) loop.defer(task(name));
    loop.hurry();
    assert.equal(loop.deferredSince, undefined);
    loop.enqueue(task("behind"));
    await quiet();
    assert.deepEqual(ran, [...names, "behind"]);
  });
});

test("A task that has run is not held, although others are always ready", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const { loop, ran, task, quiet } = noting();
  const enqueueOne = () => {
    const one = task("one");
    loop.enqueue(one);
    return new WeakRef(one);
  };
  const one = enqueueOne();
  let isHeld: boolean | undefined;
  const again = task("again", () => {
    if (ran.length < 10) loop.enqueue(again);
    else {
      collect();
      isHeld = one.deref() !== undefined;
    }
    return false;
  });
  loop.enqueue(again);
  await quiet();
  assert.equal(isHeld, false);
});
