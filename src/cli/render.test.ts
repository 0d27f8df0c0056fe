import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bytes, type Column, duration, facts, shortTime, table } from "./render.ts";

const COLUMNS: Column<Record<string, string>>[] = [
  { title: "A", rank: 0, min: 5, value: ({ a }) => a },
  { title: "LONG TITLE", rank: 2, value: ({ b }) => b },
  { title: "C", rank: 1, min: 4, right: true, value: ({ c }) => c },
];

test("A table is never wider than the terminal, as long as its first columns fit", () => {
  const text = fc.string({ maxLength: 40 });
  const row = fc.record({ a: text, b: text, c: text });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), fc.integer({ min: 20, max: 120 }), (rows, width) => {
      for (const line of table(COLUMNS, rows, width).split("\n")) assert.ok(line.length <= width, line);
    }),
  );
});

test("The columns with the highest rank are left out first, and the others are cut only as much as needed", () => {
  const rows = [{ a: "a".repeat(20), b: "b".repeat(20), c: "c" }];
  assert.equal(
    table(COLUMNS, rows, 46),
    `A${" ".repeat(21)}LONG TITLE${" ".repeat(12)}C\n${"a".repeat(20)}  ${"b".repeat(20)}  c`,
  );
  assert.equal(table(COLUMNS, rows, 20), `A${" ".repeat(18)}C\n${"a".repeat(16)}…  c`);
});

test("A long value is wrapped below itself, and a long word stays whole", () => {
  const pairs = [
    ["Reason", "The server's certificate is expired, for another host"],
    ["Nothing", null],
    ["SHA-256", "a".repeat(40)],
  ] as const;
  assert.deepEqual(facts(pairs, 36), [
    "Reason   The server's certificate is",
    "         expired, for another host",
    `SHA-256  ${"a".repeat(40)}`,
  ]);
});

const SIZES: [number, string][] = [
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [12_345, "12 kB"],
  [999_999, "999 kB"],
  [1_500_000, "1.5 MB"],
  [2 ** 40, "1.1 TB"],
  [10 ** 16, "10000 TB"],
];
for (const [count, text] of SIZES) {
  test(`${count} bytes are shown as ${text}`, () => assert.equal(bytes(count), text));
}

const DURATIONS: [number, string][] = [
  [250, "250 ms"],
  [1000, "1 s"],
  [119_000, "119 s"],
  [120_000, "2 min"],
  [7_200_000, "2 h"],
  [5 * 86_400_000, "5 d"],
];
for (const [ms, text] of DURATIONS) {
  test(`${ms} ms are shown as ${text}`, () => assert.equal(duration(ms), text));
}

test("Times of today are shown without the date, others with it", () => {
  const noon = new Date(2026, 10, 23, 12, 0, 5).getTime();
  assert.equal(shortTime(noon, noon + 3600_000), "12:00:05");
  assert.equal(shortTime(noon, noon + 86_400_000), "11-23 12:00");
});
