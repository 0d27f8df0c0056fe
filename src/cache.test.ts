import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { Cache, type CacheBounds, ENTRY_BYTES, type MadeValue } from "./cache.ts";

const ROOMY = { entries: 1_000, bytes: 1_000_000 };
const sizeOf = (text: string): number => text.length;

function openCache(bounds: Partial<CacheBounds<string>> = {}): Cache<string> {
  return new Cache({ ...ROOMY, sizeOf, ...bounds });
}

/** Text of so many bytes that its entry takes `bytes`. */
function fill(bytes: number): string {
  return "x".repeat(bytes - ENTRY_BYTES);
}

/** A value that is made when the test says so. */
function maker() {
  const asked: PromiseWithResolvers<MadeValue<string>>[] = [];
  return {
    asked,
    make() {
      const answer = Promise.withResolvers<MadeValue<string>>();
      asked.push(answer);
      return answer.promise;
    },
  };
}

test("An entry is found until its end", () => {
  const cache = openCache();
  cache.keep("a", "value", 100);
  assert.equal(cache.find("a", 99), "value");
  assert.equal(cache.find("a", 100), undefined);
  assert.deepEqual([cache.size, cache.hits, cache.misses, cache.evicted], [0, 1, 1, 0]);
});

test("An entry without an end stays", () => {
  const cache = openCache();
  cache.keep("a", "value");
  assert.equal(cache.find("a"), "value");
  assert.equal(cache.find("a", Number.MAX_VALUE), "value");
});

test("The least recently used entry goes when there are too many", () => {
  const cache = openCache({ entries: 2 });
  cache.keep("a", "a");
  cache.keep("b", "b");
  cache.find("a");
  cache.keep("c", "c");
  const values = cache.entries().map(([value]) => value);
  assert.deepEqual([values, cache.evicted], [["a", "c"], 1]);
});

test("A new value takes the room of the old one", () => {
  const cache = openCache({ entries: 2, bytes: 1_000 });
  cache.keep("a", fill(600), 100);
  cache.keep("b", fill(400), 100);
  cache.keep("a", fill(599), 100);
  assert.deepEqual([cache.find("a"), cache.find("b"), cache.size], [fill(599), fill(400), 2]);
});

test("A value larger than the cache is not kept, drops the old value and evicts nothing else", () => {
  const cache = openCache({ bytes: 1_000 });
  cache.keep("a", "a", 100);
  cache.keep("b", "b", 100);
  cache.keep("a", fill(1_001), 100);
  assert.deepEqual([cache.find("a"), cache.find("b"), cache.evicted], [undefined, "b", 0]);
});

test("Neither bound is ever passed", () => {
  const keep = fc.record({
    key: fc.constantFrom(..."abcdefgh"),
    bytes: fc.integer({ min: ENTRY_BYTES, max: 1_200 }),
    until: fc.nat(20),
    now: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(keep), (keeps) => {
      const cache = openCache({ entries: 5, bytes: 1_000 });
      for (const { key, bytes, until, now } of keeps) {
        cache.keep(key, fill(bytes), until);
        assert.ok(cache.size <= 5);
        assert.equal(cache.find(key, -1), bytes > 1_000 ? undefined : fill(bytes));
        cache.find("a", now);
      }
      const kept = cache.entries().map(([value]) => value.length + ENTRY_BYTES);
      assert.ok(kept.reduce((sum, bytes) => sum + bytes, 0) <= 1_000);
      assert.equal(cache.flush(), kept.length);
      assert.deepEqual([cache.size, cache.bytes], [0, 0]);
    }),
  );
});

test("A key of any length takes no more room than a short one, and is still told from others", () => {
  const cache = openCache();
  const long = "k".repeat(100_000);
  cache.keep(long, "long");
  cache.keep(`${long}2`, "other");
  assert.deepEqual([cache.find(long), cache.find(`${long}2`)], ["long", "other"]);
  assert.equal(cache.bytes, 2 * ENTRY_BYTES + "long".length + "other".length);
  cache.forget(long);
  assert.deepEqual([cache.find(long), cache.size], [undefined, 1]);
});

test("Nobody finds an entry by the hash that its key is kept as", () => {
  const cache = openCache();
  const long = "k".repeat(100);
  cache.keep(long, "long");
  assert.equal(cache.find(`sha256 ${hash("sha256", long, "base64url")}`), undefined);
});

test("However many want an entry at once, it is made once", async () => {
  const { asked, make } = maker();
  const cache = openCache();
  const takers = Array.from({ length: 100 }, () => cache.take("a", 0, make));
  assert.equal(asked.length, 1);
  asked[0]!.resolve({ value: "made", until: 100 });
  assert.deepEqual(new Set(await Promise.all(takers)), new Set(["made"]));
  assert.equal(await cache.take("a", 99, make), "made");
  assert.deepEqual([asked.length, cache.hits, cache.misses, cache.size], [1, 100, 1, 1]);
  void cache.take("a", 100, make);
  assert.equal(asked.length, 2, "and again after its end");
});

test("A failure reaches all who waited, and the next one tries again", async () => {
  const { asked, make } = maker();
  const cache = openCache();
  const takers = [cache.take("a", 0, make), cache.take("a", 0, make)];
  asked[0]!.reject(new Error("no"));
  for (const { status } of await Promise.allSettled(takers)) assert.equal(status, "rejected");
  void cache.take("a", 0, make);
  assert.equal(asked.length, 2);
});

test("A value that was being made when its entry was forgotten is not kept", async () => {
  for (const forget of ["flush", "forget"] as const) {
    const { asked, make } = maker();
    const cache = openCache();
    const old = cache.take("a", 0, make);
    cache[forget]("a");
    const young = cache.take("a", 0, make);
    asked[0]!.resolve({ value: "old" });
    assert.equal(await old, "old");
    asked[1]!.resolve({ value: "young" });
    assert.equal(await young, "young");
    assert.deepEqual([await cache.take("a", 0, make), asked.length], ["young", 2]);
  }
});

test("A failure of an earlier attempt leaves the later one alone", async () => {
  const { asked, make } = maker();
  const cache = openCache();
  const old = cache.take("a", 0, make);
  cache.flush();
  const young = cache.take("a", 0, make);
  asked[0]!.reject(new Error("no"));
  await assert.rejects(old);
  void cache.take("a", 0, make);
  asked[1]!.resolve({ value: "young" });
  assert.deepEqual([await young, asked.length], ["young", 2]);
});

test("A value that was made while the clock was ahead is made again once the clock is right", async () => {
  const cache = openCache();
  const DAY = 86_400_000;
  const take = (now: number, value: string) => cache.take("key", now, async () => ({ value, until: now + DAY }));
  assert.equal(await take(DAY, "right"), "right");
  // Whoever looked at the clock a moment earlier finds it all the same.
  assert.equal(await take(DAY - 1_000, "another"), "right");
  assert.equal(await take(41 * DAY, "wrong"), "wrong");
  assert.equal(await take(DAY + 3_000, "right again"), "right again");
  assert.equal(await take(DAY + 4_000, "another"), "right again");
});
