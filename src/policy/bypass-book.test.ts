import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Bypass } from "./bypass.ts";
import {
  type BypassBook,
  EMPTY_BOOK,
  isSameBook,
  MOST_BYPASSES,
  mergeBooks,
  readBook,
  withBypass,
  withoutBypass,
} from "./bypass-book.ts";

const NOW = 1_000_000;

function bypass(index: number, expires: number | null = NOW + 60_000): Bypass {
  const id = index.toString(16).padStart(8, "0");
  return { id, entry: `h${index}.example`, author: "alice", comment: "why", made: index, expires };
}

/** Made by additions and removals of some of the same few bypasses. */
const book = fc
  .array(fc.record({ index: fc.nat(5), remove: fc.boolean(), endless: fc.boolean() }), { maxLength: 8 })
  .map((steps) =>
    steps.reduce<BypassBook>((before, { index, remove, endless }) => {
      const one = bypass(index, endless ? null : undefined);
      if (remove) return withoutBypass(before, one, NOW);
      const isKnown = [...before.bypasses, ...before.removed].some(({ id }) => id === one.id);
      return isKnown ? before : withBypass(before, one);
    }, EMPTY_BOOK),
  );

test("Books merge in any order and any number of times with the same result", () => {
  fc.assert(
    fc.property(book, book, book, (a, b, c) => {
      const one = mergeBooks(mergeBooks(a, b, NOW), c, NOW);
      const other = mergeBooks(c, mergeBooks(mergeBooks(b, a, NOW), a, NOW), NOW);
      assert.ok(isSameBook(one, other));
      assert.ok(isSameBook(mergeBooks(one, a, NOW), one));
    }),
  );
});

test("A bypass that was removed does not come back from a node that did not hear of it", () => {
  const before = withBypass(EMPTY_BOOK, bypass(1, null));
  const after = withoutBypass(before, bypass(1, null), NOW);
  assert.deepEqual(mergeBooks(after, before, NOW).bypasses, []);
  assert.deepEqual(mergeBooks(before, after, NOW + 86_400_000).bypasses, []);
});

test("What has ended is not taken over, and what this node has stays: its end is by another clock", () => {
  const ended = withBypass(EMPTY_BOOK, bypass(1, NOW - 1));
  assert.deepEqual(mergeBooks(EMPTY_BOOK, ended, NOW).bypasses, []);
  assert.equal(mergeBooks(ended, EMPTY_BOOK, NOW).bypasses.length, 1);
});

test("A node that removes bypasses for years remembers the latest of them", () => {
  let book = EMPTY_BOOK;
  for (let index = 0; index < 2_100; index += 1) {
    const one = bypass(index, NOW + index);
    book = withoutBypass(withBypass(book, one), one, NOW);
  }
  assert.deepEqual([book.removed.length, book.removed[0]?.id], [2_000, bypass(100).id]);
  assert.equal(withoutBypass(book, bypass(1), NOW + 366 * 86_400_000).removed.length, 0);
});

test("A book has a bound, at which the first bypasses stay", () => {
  const bypasses = Array.from({ length: MOST_BYPASSES + 7 }, (_, index) => bypass(index));
  const merged = mergeBooks(EMPTY_BOOK, { bypasses, removed: [] }, NOW);
  assert.equal(merged.bypasses.length, MOST_BYPASSES);
  assert.ok(merged.bypasses.every(({ made }) => made < MOST_BYPASSES));
});

test("What is written can be read, and what is not a bypass is named and left out", () => {
  fc.assert(
    fc.property(book, (written) => {
      const { book: read, problems } = readBook(JSON.parse(JSON.stringify(written)));
      assert.ok(isSameBook(read, written));
      assert.deepEqual(problems, []);
    }),
  );
  const good = bypass(1);
  const bad = [null, 7, "x", {}, { ...good, id: "../x" }, { ...good, entry: "a b" }, { ...good, expires: "soon" }];
  const { book: read, problems } = readBook({ bypasses: [...bad, good], removed: [{ id: good.id }] });
  assert.deepEqual(read.bypasses, [good]);
  assert.deepEqual(problems, [...bad.map((_, index) => `bypasses[${index}] is not one`), "removed[0] is not one"]);
  for (const value of [undefined, null, [], "", { bypasses: {} }]) assert.ok(readBook(value).problems.length > 0);
});

test("Any value is read without an error", () => {
  fc.assert(fc.property(fc.anything(), (value) => assert.ok(readBook(value).book)));
});
