import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ENTRY_BYTES } from "../cache.ts";
import { createSessionCache } from "./session-cache.ts";

const one = (byte: number, length = 1) => Buffer.alloc(length, byte);

test("A session is found until its time is over", () => {
  const cache = createSessionCache(100);
  cache.keep("a", one(1), 100);
  assert.deepEqual(cache.find("a", 99), one(1));
  assert.deepEqual(cache.find("a", 99), one(1));
  assert.equal(cache.find("a", 100), undefined);
  assert.equal(cache.size, 0);
  assert.equal(cache.find("b", 0), undefined);
});

test("A name keeps the newest session", () => {
  const cache = createSessionCache(100);
  cache.keep("a", one(1), 100);
  cache.keep("a", one(2), 100);
  assert.deepEqual([cache.find("a", 0), cache.size], [one(2), 1]);
});

test("The bounds in number and bytes always hold, and a session that is too large is not kept", () => {
  const put = fc.record({ name: fc.constantFrom(..."abcdefgh"), length: fc.nat(900), until: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(put), (puts) => {
      const cache = createSessionCache(5, 1_000);
      for (const { name, length, until } of puts) {
        cache.keep(name, one(1, length), until);
        assert.ok(cache.size <= 5);
        if (length + ENTRY_BYTES <= 1_000) assert.equal(cache.find(name, until - 1)?.length, length);
      }
      const left = [..."abcdefgh"].map((name) => cache.find(name, -1)).filter((found) => found !== undefined);
      assert.ok(left.reduce((sum, { length }) => sum + length + ENTRY_BYTES, 0) <= 1_000);
      cache.flush();
      assert.equal(cache.size, 0);
    }),
  );
});

test("A forgotten session is not found, and frees its room", () => {
  const cache = createSessionCache(100);
  for (const name of ["a", "b"]) cache.keep(name, one(1), 100);
  cache.forget("a");
  cache.forget("c");
  assert.deepEqual([cache.find("a", 0), cache.find("b", 0), cache.size], [undefined, one(1), 1]);
});

test("The least recently used session goes first", () => {
  const cache = createSessionCache(2);
  for (const name of ["a", "b", "a", "c"]) cache.keep(name, one(1), 100);
  assert.deepEqual(
    ["a", "b", "c"].map((name) => cache.find(name, 0) !== undefined),
    [true, false, true],
  );
});
