import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Queue } from "./queue.ts";

test("A queue gives back what an array would, in the same order", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (steps) => {
      const [queue, model] = [new Queue<number>(), [] as number[]];
      for (const [nth, pushes] of steps.entries()) {
        if (pushes) queue.push(nth);
        if (pushes) model.push(nth);
        else assert.equal(queue.shift(), model.shift());
        assert.deepEqual([queue.size, queue.first], [model.length, model[0]]);
      }
    }),
  );
});

test("A queue has no limit of its own", () => {
  const queue = new Queue<number>();
  for (let nth = 0; nth < 300_000; nth += 1) queue.push(nth);
  assert.deepEqual([queue.size, queue.shift()], [300_000, 0]);
});
