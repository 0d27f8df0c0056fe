import { LOADS, type Load } from "./loads.ts";
import type { Readings } from "./rounds.ts";
import type { Comparison, Group, Row } from "./table.ts";

/** A row with its numbers. */
export interface Verdict {
  readonly ours: number;
  readonly theirs: number;
  /** What the row compares: a quotient, or a difference in the load's unit. NaN: it cannot be said. */
  readonly value: number;
  /** Undefined: the row has no bound. */
  readonly holds: boolean | undefined;
}

/** How many times theirs ours is; NaN when one of them is too small to be measured. */
const quotient = (ours: number, theirs: number) => (ours > 0 && theirs > 0 ? ours / theirs : Number.NaN);

const COMPARE: Readonly<Record<Comparison, (ours: number, theirs: number) => number>> = {
  quotient,
  difference: (ours, theirs) => ours - theirs,
  added: quotient,
};

/** Undefined unless both were measured. What is added is what goes beyond the reading without a node between. */
export function judge(row: Row, readings: Readings): Verdict | undefined {
  const { [row.ours]: mine, [row.theirs]: other, direct } = readings[row.load] ?? {};
  if (mine === undefined || other === undefined) return undefined;
  const compare = row.compare ?? "quotient";
  const base = compare === "added" ? (direct?.cost ?? Number.NaN) : 0;
  const [ours, theirs] = [mine.cost - base, other.cost - base];
  const value = COMPARE[compare](ours, theirs);
  // The sessions took less memory than the program gave back meanwhile: that says nothing about them.
  const isUnmeasured = compare === "quotient" && Number.isNaN(value);
  if (row.atMost === undefined || isUnmeasured) return { ours, theirs, value, holds: undefined };
  const bound = compare === "difference" ? theirs + row.atMost : theirs * row.atMost;
  return { ours, theirs, value, holds: ours <= bound };
}

const HEAD = ["", "ours", "theirs", "ratio", "at most", ""];

/** One small table for each pair of subjects, and the rates of all, no line longer than 80 columns. */
export function report(group: Group, readings: Readings): string {
  const pairs = new Map<string, string[][]>();
  for (const row of group.rows) {
    const verdict = judge(row, readings);
    if (!verdict) continue;
    const title = `${row.ours} against ${row.theirs}`;
    pairs.set(title, [...(pairs.get(title) ?? []), cellsOf(row, verdict)]);
  }
  const tables = [...pairs].map(([title, rows]) => `${title}\n${align([HEAD, ...rows])}`);
  return [wrap(group.title).join("\n"), ...tables, ...ratesOf(readings)].join("\n\n");
}

function titleOf({ load }: Row): string {
  const { title, unit } = LOADS[load];
  return `${title} (${unit})`;
}

function cellsOf(row: Row, { ours, theirs, value, holds }: Verdict): string[] {
  const { compare, atMost } = row;
  const { unit } = LOADS[row.load];
  const sign = compare === "difference" && value >= 0 ? "+" : "";
  const end = compare === "difference" ? ` ${unit}` : "";
  const bound = atMost === undefined ? "" : `${sign && "+"}${atMost.toFixed(2)}${end}`;
  const word = holds === undefined ? "" : holds ? "holds" : "MISSED";
  const ratio = Number.isNaN(value) ? "–" : `${sign}${value.toFixed(2)}${end}`;
  return [titleOf(row), show(ours), show(theirs), ratio, bound, word];
}

function ratesOf(readings: Readings): string[] {
  const rows = Object.entries(readings).flatMap(([load, subjects]) => {
    const { title, rateUnit }: Load = LOADS[load as keyof typeof LOADS];
    const rates = Object.entries(subjects).flatMap(([name, { rate }]) => (rate ? `${name} ${show(rate)}` : []));
    const what = title.replace("CPU per GiB, ", "").replace("CPU per 1,000 ", "");
    return rates.length === 0 ? [] : wrap(`${what}, ${rateUnit}: ${rates.join(", ")}`);
  });
  return rows.length === 0 ? [] : [["Rates", ...rows].join("\n")];
}

/** The rows with a bound, as a table of a document. */
export function page(rows: readonly (readonly [Row, Verdict | undefined])[]): string {
  const lines = rows.flatMap(([row, verdict]) => {
    if (row.atMost === undefined) return [];
    const [title, ...numbers] = verdict
      ? cellsOf(row, verdict)
      : [titleOf(row), "", "", "", row.atMost.toFixed(2), "not measured"];
    return `| ${[row.ours, title, row.theirs, ...numbers].join(" | ")} |`;
  });
  const head = [
    "| subject | load | against | ours | theirs | ratio | at most | |",
    "|---|---|---|--:|--:|--:|--:|---|",
  ];
  return [...head, ...lines].join("\n");
}

/** Breaks a line at its spaces. */
export function wrap(text: string, width = 80): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(lines.length === 0 ? word : `  ${word}`);
  }
  return lines;
}

/** Columns under each other: the first at the left, the others at the right. */
export function align(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  return rows
    .map((cells) =>
      cells
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Three digits that matter. */
export function show(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
