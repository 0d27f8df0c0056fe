import assert from "node:assert/strict";
import { test } from "node:test";
import { NetworkError } from "../errors.ts";
import { createTurns } from "./turns.ts";

const LONG = 60_000;

/** Whether a promise has settled once everything that is due has run. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  await new Promise((resolve) => setImmediate(resolve));
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}

test("A client's handshakes above the bound wait for one of its own, in their order", async () => {
  const turns = createTurns();
  const first = await turns.take("a", 2, LONG);
  await turns.take("a", 2, LONG);
  const third = turns.take("a", 2, LONG);
  const fourth = turns.take("a", 2, LONG);
  assert.deepEqual([await settles(third), await settles(fourth)], [false, false]);
  first();
  assert.deepEqual([await settles(third), await settles(fourth)], [true, false]);
  (await third)();
  (await fourth)();
});

test("Another client does not wait", async () => {
  const turns = createTurns();
  await turns.take("a", 1, LONG);
  const waiting = turns.take("a", 1, 1);
  (await turns.take("b", 1, LONG))();
  await assert.rejects(waiting, NetworkError);
});

test("A turn ends once, and nothing is left of a client without any", async () => {
  const turns = createTurns();
  const [one, two] = [await turns.take("a", 2, LONG), await turns.take("a", 2, LONG)];
  one();
  one();
  assert.equal(turns.size, 1);
  two();
  assert.equal(turns.size, 0);
});

test("A handshake that waits too long fails, and its turn goes to nobody", async () => {
  const turns = createTurns();
  const one = await turns.take("a", 1, LONG);
  await assert.rejects(turns.take("a", 1, 1), { code: "EBUSY" });
  one();
  assert.equal(turns.size, 0);
});
