import Table from "cli-table3";
import { ROWS, type RowKey, type Values } from "./measures.ts";
import { PAIRS, type SubjectName } from "./subjects.ts";

export type Results = Partial<Record<SubjectName, Values>>;

/** The middle of the runs, value by value. */
export function medians(runs: readonly Values[]): Values {
  const values: Values = {};
  for (const { key } of ROWS) {
    const sorted = runs.flatMap((run) => run[key] ?? []).sort((a, b) => a - b);
    const middle = sorted[Math.floor(sorted.length / 2)];
    if (middle !== undefined) values[key] = middle;
  }
  return values;
}

/** Ours divided by theirs, for each pair and row that was measured. */
export function ratios(results: Results): Record<string, Values> {
  const all: Record<string, Values> = {};
  for (const { ours, theirs } of PAIRS) {
    const pair: Values = {};
    for (const { key } of ROWS) {
      const [mine, other] = [results[ours]?.[key], results[theirs]?.[key]];
      if (mine !== undefined && other) pair[key] = mine / other;
    }
    all[`${ours} / ${theirs}`] = pair;
  }
  return all;
}

export function table(results: Results): string {
  const pairs = ratios(results);
  const head = ["", "", "direct", ...PAIRS.flatMap(({ ours, theirs }) => [ours, theirs, "ratio"]), "better"];
  const rows = new Table({
    head,
    style: { head: [], border: [] },
    colAligns: ["left", "left", ...Array(7).fill("right"), "left"],
  });
  for (const { key, title, unit, better } of ROWS) {
    const cells = PAIRS.flatMap(({ ours, theirs }) => {
      const ratio = pairs[`${ours} / ${theirs}`]?.[key];
      return [
        show(results[ours], key),
        show(results[theirs], key),
        ratio === undefined ? "–" : `× ${ratio.toFixed(2)}`,
      ];
    });
    rows.push([title, unit, show(results.direct, key), ...cells, better]);
  }
  return rows.toString();
}

function show(values: Values | undefined, key: RowKey): string {
  const value = values?.[key];
  if (value === undefined) return "–";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
