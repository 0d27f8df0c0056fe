import assert from "node:assert/strict";
import { test } from "node:test";
import { growthReport, slope } from "./growth.ts";
import { quantile } from "./loads.ts";
import { plot } from "./plot.ts";
import { judge, page, report, wrap } from "./report.ts";
import { medians, subjectsOf } from "./rounds.ts";
import { GROUPS, type Group, type Row } from "./table.ts";

const BYTES: Row = { load: "down 1", ours: "clearline", theirs: "sslsplit", atMost: 0.65 };
const BESIDE: Row = { load: "beside downloads", ours: "clearline", theirs: "direct", compare: "difference", atMost: 1 };
const QUARTER: Row = { load: "quarter load", ours: "clearline", theirs: "sslsplit", compare: "added", atMost: 1 };

test("Costs and rates are the medians of their own runs", () => {
  const runs = [{ cost: 3, rate: 10 }, { cost: 1, rate: 30 }, { cost: 2, rate: 20 }, { cost: 7 }, { cost: 0 }];
  assert.deepEqual(medians(runs), { cost: 2, rate: 20 });
  assert.deepEqual(medians([{ cost: 5 }]), { cost: 5 });
});

test("A quantile is one of the values, in whatever order they are", () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index);
  assert.deepEqual([quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)], [100, 198, 200]);
  assert.deepEqual([quantile([7], 0.5), quantile([7], 0.99)], [7, 7]);
});

test("A row holds up to its bound, and says neither without one", () => {
  const at = (cost: number) => ({ "down 1": { clearline: { cost }, sslsplit: { cost: 2 } } });
  assert.deepEqual(judge(BYTES, at(1.3)), { ours: 1.3, theirs: 2, value: 0.65, holds: true });
  assert.equal(judge(BYTES, at(1.32))?.holds, false);
  const { atMost: _, ...informs } = BYTES;
  assert.equal(judge(informs, at(9))?.holds, undefined);
});

test("A difference is in the load's unit, and what is added is counted from a session without a node", () => {
  const readings = {
    "beside downloads": { direct: { cost: 0.5 }, clearline: { cost: 1.25 } },
    "quarter load": { direct: { cost: 1 }, clearline: { cost: 1.5 }, sslsplit: { cost: 2 } },
  };
  assert.deepEqual([judge(BESIDE, readings)?.value, judge(QUARTER, readings)?.value], [0.75, 0.5]);
  assert.deepEqual(subjectsOf([QUARTER]), ["direct", "sslsplit", "clearline"]);
});

test("When theirs adds too little to be measured, there is no ratio, and ours holds if it adds as little", () => {
  const at = (cost: number) => ({
    "quarter load": { direct: { cost: 1 }, clearline: { cost }, sslsplit: { cost: 0.75 } },
  });
  assert.deepEqual(judge(QUARTER, at(1.5)), { ours: 0.5, theirs: -0.25, value: Number.NaN, holds: false });
  assert.equal(judge(QUARTER, at(0.5))?.holds, true);
});

test("Memory that became less while the sessions opened neither holds nor misses a bound", () => {
  const idle: Row = { load: "idle 1,000", ours: "clearline", theirs: "sslsplit", atMost: 0.95 };
  const verdict = judge(idle, { "idle 1,000": { clearline: { cost: -32 }, sslsplit: { cost: 38 } } });
  assert.deepEqual(verdict, { ours: -32, theirs: 38, value: Number.NaN, holds: undefined });
});

test("A row that was not measured on both subjects has no verdict", () => {
  assert.equal(judge(BYTES, { "down 1": { clearline: { cost: 1 } } }), undefined);
  assert.equal(judge(BYTES, {}), undefined);
});

test("A report has one small table for each pair, with the ratio, the bound and whether it holds", () => {
  const group: Group = { name: "some", title: "Some rows", place: "loopback", rows: [BYTES, BESIDE] };
  const readings = {
    "down 1": { clearline: { cost: 0.9, rate: 812.3 }, sslsplit: { cost: 1, rate: 400 } },
    "beside downloads": { direct: { cost: 0.5 }, clearline: { cost: 1.25 } },
  };
  const expected = `Some rows

clearline against sslsplit
                                   ours  theirs  ratio  at most
CPU per GiB, down, 1 session (s)  0.900    1.00   0.90     0.65  MISSED

clearline against direct
                                       ours  theirs     ratio   at most
request beside 16 downloads, p50 (ms)  1.25   0.500  +0.75 ms  +1.00 ms  holds

Rates
down, 1 session, MiB/s: clearline 812, sslsplit 400`;
  assert.equal(report(group, readings), expected);
});

test("No line of a report is longer than 80 columns, however large its numbers are", () => {
  for (const group of GROUPS) {
    const readings = Object.fromEntries(
      group.rows.map(({ load }) => [
        load,
        Object.fromEntries(subjectsOf(group.rows).map((name, index) => [name, { cost: 1000 + index * 7, rate: 4321 }])),
      ]),
    );
    const long = report(group, readings)
      .split("\n")
      .filter((line) => line.length > 80);
    assert.deepEqual(long, [], group.name);
  }
});

test("Wrapping keeps all words, and a word that is too long has a line of its own", () => {
  const words = "one two three four five-and-a-half six";
  assert.deepEqual(wrap(words, 12), ["one two", "  three four", "  five-and-a-half", "  six"]);
});

test("The page shows a row with a bound even when it was not measured", () => {
  const verdict = { ours: 0.6, theirs: 1, value: 0.6, holds: true };
  const { atMost: _, ...informs } = BYTES;
  const [, , first, second, ...rest] = page([
    [BYTES, verdict],
    [informs, verdict],
    [BESIDE, undefined],
  ]).split("\n");
  assert.equal(
    first,
    "| clearline | CPU per GiB, down, 1 session (s) | sslsplit | 0.600 | 1.00 | 0.60 | 0.65 | holds |",
  );
  assert.match(second!, /^\| clearline \| request .* \| not measured \|$/);
  assert.deepEqual(rest, []);
});

const RISING = { title: "rules", points: [10, 100, 1000].map((size, index) => ({ size, cost: 2 + index * 0.5 })) };

test("A slope is the change for each factor of ten, as a share of the first cost", () => {
  assert.ok(Math.abs(slope(RISING) - 0.25) < 1e-9);
  const flat = { title: "flat", points: [1, 500_000].map((size) => ({ size, cost: 3 })) };
  assert.equal(slope(flat), 0);
  assert.match(growthReport([flat]), /slope 0\.0 % .*; largest to smallest 1\.00, at most 1\.15: holds/);
  assert.match(growthReport([RISING]), /slope 25\.0 % .*; largest to smallest 1\.50, at most 1\.15: MISSED/);
});

test("The plot is one well-formed picture with a point for each size, from zero up", () => {
  const picture = plot([RISING, { ...RISING, title: "list entries" }]);
  assert.equal(picture.match(/<circle /g)?.length, 6);
  const open: string[] = [];
  for (const [, close, name, self] of picture.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (close) assert.equal(open.pop(), name);
    else if (!self) open.push(name!);
  }
  assert.deepEqual(open, []);
  const heights = [...picture.matchAll(/<circle [^>]*cy="([\d.]+)"/g)].map(([, y]) => Number(y));
  const bottom = Math.max(...[...picture.matchAll(/ y1="([\d.]+)"/g)].map(([, y]) => Number(y)));
  assert.ok(
    heights
      .slice(0, 3)
      .every((y, index) => Math.abs((bottom - y) / (bottom - heights[0]!) - (2 + index * 0.5) / 2) < 0.01),
  );
});
