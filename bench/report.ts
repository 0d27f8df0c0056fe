import Table from "cli-table3";
import { ROWS, type RowKey, type Values } from "./measures.ts";

/** The columns of a table: single subjects, and pairs with the ratio of ours to theirs. */
export interface Comparison {
  readonly title: string;
  readonly alone: readonly string[];
  readonly pairs: readonly { readonly ours: string; readonly theirs: string }[];
}

/** The values of each subject. */
export type Results = Readonly<Record<string, Values>>;

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
export function ratios({ pairs }: Comparison, results: Results): Record<string, Values> {
  const all: Record<string, Values> = {};
  for (const { ours, theirs } of pairs) {
    const pair: Values = {};
    for (const { key } of ROWS) {
      const [mine, other] = [results[ours]?.[key], results[theirs]?.[key]];
      if (mine !== undefined && other) pair[key] = mine / other;
    }
    all[`${ours} / ${theirs}`] = pair;
  }
  return all;
}

/** A table of all rows with values. Each subject has one column; a pair's ratio stands behind its second subject. */
export function table(comparison: Comparison, results: Results): string {
  const columns = columnsOf(comparison, results);
  const table = new Table({
    head: ["", "", ...columns.map(({ head }) => head), "better"],
    style: { head: [], border: [] },
    colAligns: ["left", "left", ...columns.map(() => "right" as const), "left"],
  });
  for (const { key, title, unit, better } of ROWS) {
    if (Object.values(results).every((values) => values[key] === undefined)) continue;
    table.push([title, unit, ...columns.map(({ cell }) => cell(key)), better]);
  }
  return `${comparison.title}\n${table}`;
}

interface Column {
  readonly head: string;
  readonly cell: (key: RowKey) => string;
}

function columnsOf(comparison: Comparison, results: Results): Column[] {
  const { alone, pairs } = comparison;
  const quotients = ratios(comparison, results);
  const columns = new Map<string, Column>();
  const add = (name: string) => columns.set(name, { head: name, cell: (key) => show(results[name]?.[key]) });
  for (const name of alone) add(name);
  for (const { ours, theirs } of pairs) {
    for (const name of [ours, theirs]) if (!columns.has(name)) add(name);
    const pair = quotients[`${ours} / ${theirs}`];
    const cell = (key: RowKey) => (pair?.[key] === undefined ? "–" : `× ${pair[key].toFixed(2)}`);
    columns.set(`${ours} / ${theirs}`, { head: `/ ${theirs}`, cell });
  }
  return [...columns.values()];
}

function show(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
