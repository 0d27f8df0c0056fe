import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Cache, type MadeValue } from "./cache.ts";

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
  const cache = new Cache<string>({});
  cache.keep("a", "value", 100);
  assert.equal(cache.find("a", 99), "value");
  assert.equal(cache.find("a", 100), undefined);
  assert.deepEqual([cache.size, cache.hits, cache.misses, cache.evicted], [0, 1, 1, 0]);
});

test("An entry without an end stays", () => {
  const cache = new Cache<string>({});
  cache.keep("a", "value");
  assert.equal(cache.find("a"), "value");
  assert.equal(cache.find("a", Number.MAX_VALUE), "value");
});

test("The least recently used entry goes when there are too many", () => {
  const cache = new Cache<string>({ entries: 2 });
  cache.keep("a", "a");
  cache.keep("b", "b");
  cache.find("a");
  cache.keep("c", "c");
  const keys = cache.entries().map(([key]) => key);
  assert.deepEqual([keys, cache.evicted], [["a", "c"], 1]);
});

test("A new value takes the room of the old one", () => {
  const cache = new Cache<string>({ entries: 2, bytes: 10 });
  cache.keep("a", "a", 100, 6);
  cache.keep("b", "b", 100, 4);
  cache.keep("a", "new", 100, 6);
  assert.deepEqual([cache.find("a"), cache.find("b"), cache.size], ["new", "b", 2]);
});

test("A value larger than the cache is not kept, drops the old value and evicts nothing else", () => {
  const cache = new Cache<string>({ bytes: 10 });
  cache.keep("a", "a", 100, 1);
  cache.keep("b", "b", 100, 1);
  cache.keep("a", "large", 100, 11);
  assert.deepEqual([cache.find("a"), cache.find("b"), cache.evicted], [undefined, "b", 0]);
});

test("Neither bound is ever passed", () => {
  const keep = fc.record({
    key: fc.constantFrom(..."abcdefgh"),
    bytes: fc.nat(60),
    until: fc.nat(20),
    now: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(keep), (keeps) => {
      const cache = new Cache<number>({ entries: 5, bytes: 50 });
      for (const { key, bytes, until, now } of keeps) {
        cache.keep(key, bytes, until, bytes);
        assert.ok(cache.size <= 5);
        assert.equal(cache.find(key, -1), bytes > 50 ? undefined : bytes);
        cache.find("a", now);
      }
      const kept = cache.entries().map(([key]) => cache.find(key, -1) ?? 0);
      assert.ok(kept.reduce((sum, bytes) => sum + bytes, 0) <= 50);
      assert.equal(cache.flush(), kept.length);
      assert.equal(cache.size, 0);
    }),
  );
});

test("However many want an entry at once, it is made once", async () => {
  const { asked, make } = maker();
  const cache = new Cache<string>({});
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
  const cache = new Cache<string>({});
  const takers = [cache.take("a", 0, make), cache.take("a", 0, make)];
  asked[0]!.reject(new Error("no"));
  for (const { status } of await Promise.allSettled(takers)) assert.equal(status, "rejected");
  void cache.take("a", 0, make);
  assert.equal(asked.length, 2);
});

test("A value that was being made when its entry was forgotten is not kept", async () => {
  for (const forget of ["flush", "forget"] as const) {
    const { asked, make } = maker();
    const cache = new Cache<string>({});
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
  const cache = new Cache<string>({});
  const old = cache.take("a", 0, make);
  cache.flush();
  const young = cache.take("a", 0, make);
  asked[0]!.reject(new Error("no"));
  await assert.rejects(old);
  void cache.take("a", 0, make);
  asked[1]!.resolve({ value: "young" });
  assert.deepEqual([await young, asked.length], ["young", 2]);
});
