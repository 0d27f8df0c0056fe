import assert from "node:assert/strict";
import { test } from "node:test";
import { medians, ratios, table } from "./report.ts";

test("each value is the median of its own runs", () => {
  const runs = [{ sessions: 300, one: 10 }, { sessions: 100, one: 30 }, { sessions: 200, one: 20 }, { idle: 7 }];
  assert.deepEqual(medians(runs), { sessions: 200, one: 20, idle: 7 });
});

test("ratios are ours divided by theirs, where both were measured", () => {
  const results = {
    clearline: { sessions: 300, idle: 50 },
    mitmproxy: { sessions: 100 },
    "clearline forward": { one: 1 },
  };
  assert.deepEqual(ratios(results), { "clearline / mitmproxy": { sessions: 3 }, "clearline forward / sslsplit": {} });
});

test("a peer that was skipped leaves its cells and ratios empty", () => {
  const row = table({ clearline: { sessions: 312.4 }, direct: { sessions: 715 } })
    .split("\n")
    .find((line) => line.includes("new sessions"));
  const cells = row
    ?.split("│")
    .map((cell) => cell.trim())
    .slice(2, -1);
  assert.deepEqual(cells, ["1/s", "715", "312", "–", "–", "–", "–", "–", "more"]);
});
