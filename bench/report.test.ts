import assert from "node:assert/strict";
import { test } from "node:test";
import { quantile } from "./measures.ts";
import { type Comparison, medians, type Results, ratios, table } from "./report.ts";

const PEERS: Comparison = {
  title: "Clearline beside its peers",
  alone: ["direct"],
  pairs: [
    { ours: "clearline", theirs: "mitmproxy" },
    { ours: "clearline forward", theirs: "sslsplit" },
    { ours: "clearline pcapng", theirs: "clearline" },
  ],
};

test("Each value is the median of its own runs", () => {
  const runs = [{ sessions: 300, one: 10 }, { sessions: 100, one: 30 }, { sessions: 200, one: 20 }, { idle: 7 }];
  assert.deepEqual(medians(runs), { sessions: 200, one: 20, idle: 7 });
});

test("A quantile is one of the values, in whatever order they are", () => {
  const values = Array.from({ length: 200 }, (_, index) => 200 - index);
  assert.deepEqual([quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)], [100, 198, 200]);
  assert.deepEqual([quantile([7], 0.5), quantile([7], 0.99)], [7, 7]);
});

test("Ratios are ours divided by theirs, if both were measured", () => {
  const results = {
    clearline: { sessions: 300, idle: 50 },
    mitmproxy: { sessions: 100 },
    "clearline forward": { one: 1 },
  };
  assert.deepEqual(ratios(PEERS, results), {
    "clearline / mitmproxy": { sessions: 3 },
    "clearline forward / sslsplit": {},
    "clearline pcapng / clearline": {},
  });
});

test("A skipped peer has empty cells and ratios, and a row without values is left out", () => {
  const results = { clearline: { sessions: 312.4 }, direct: { sessions: 715 } };
  assert.deepEqual(cellsOf(results, "new sessions"), ["1/s", "715", "312", ...Array(7).fill("–"), "more"]);
  assert.equal(cellsOf(results, "TCP connect"), undefined);
});

test("A subject of several pairs has one column, and each ratio names its second subject", () => {
  const results = { clearline: { one: 100 }, mitmproxy: { one: 50 }, "clearline pcapng": { one: 80 } };
  const head = ["", "direct", "clearline", "mitmproxy", "/ mitmproxy", "clearline forward", "sslsplit", "/ sslsplit"];
  assert.deepEqual(cellsOf(results, ""), [...head, "clearline pcapng", "/ clearline", "better"]);
  const cells = ["–", "100", "50.0", "× 2.00", "–", "–", "–", "80.0", "× 0.80"];
  assert.deepEqual(cellsOf(results, "throughput, 1"), ["MiB/s", ...cells, "more"]);
});

/** The cells behind a row's title. */
function cellsOf(results: Results, title: string): string[] | undefined {
  const rows = table(PEERS, results)
    .split("\n")
    .filter((line) => line.startsWith("│"))
    .map((line) => line.split("│").map((cell) => cell.trim()));
  return rows.find((cells) => cells[1]?.startsWith(title))?.slice(2, -1);
}
