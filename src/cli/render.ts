import pico from "picocolors";
import type { Endpoint } from "../vocabulary.ts";

/** How output looks on a terminal. Output to a file or a pipe has no colours, and nothing in it is cut. */

const isTerminal = process.stdout.isTTY === true;
export const color = pico.createColors(isTerminal && !process.env["NO_COLOR"]);

export function terminalWidth(): number {
  return isTerminal ? process.stdout.columns || 80 : Infinity;
}

export function print(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

/** Control characters, those that reorder text, and other invisible ones. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Makes text from the network harmless: names and certificates may hold anything, a terminal's control sequences too. */
export function plain(text: string): string {
  return text.replace(UNPRINTABLE, "\ufffd");
}

/** JSON that is harmless on a terminal. `JSON.stringify` leaves most of the characters that `plain` replaces as they are. */
export function printJson(value: unknown, spaces?: number): void {
  print(harmlessJson(JSON.stringify(value, null, spaces)));
}

/** The same JSON, whole or a piece of it, with escapes instead of unprintable characters. */
export function harmlessJson(text: string): string {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(UNPRINTABLE, (found) => (found === "\n" ? found : found.split("").map(escaped).join("")));
}

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string | number | null | undefined;
  /** When the terminal is too narrow, the columns with the highest rank are left out first. 0: never left out. */
  readonly rank: number;
  /** The content may be cut to this width; absent: it is never cut. */
  readonly min?: number;
  readonly right?: boolean;
  readonly paint?: (row: Row) => (text: string) => string;
}

/** Rows under titles, as wide as the terminal at most. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width = terminalWidth()): string {
  const texts = new Map(columns.map((column) => [column, rows.map((row) => cell(column.value(row)))]));
  const natural = new Map(columns.map((column) => [column, widest(column.title, texts.get(column)!)]));
  const widths = fit(columns, (column) => natural.get(column)!, width);
  const shown = columns.filter((column) => widths.has(column));
  const line = (write: (column: Column<Row>) => readonly [text: string, painted: string]) =>
    shown
      .map((column) => {
        const [text, painted] = write(column);
        const space = " ".repeat(widths.get(column)! - text.length);
        return column.right ? space + painted : painted + space;
      })
      .join(GAP)
      .trimEnd();
  const titles = line(({ title }) => [title, color.dim(title)]);
  const lines = rows.map((row, index) =>
    line((column) => {
      const text = cut(texts.get(column)![index]!, widths.get(column)!);
      return [text, column.paint ? column.paint(row)(text) : text];
    }),
  );
  return [titles, ...lines].join("\n");
}

const GAP = "  ";

function widest(title: string, texts: readonly string[]): number {
  return texts.reduce((most, { length }) => Math.max(most, length), title.length);
}

function cell(value: string | number | null | undefined): string {
  return value === null || value === undefined || value === "" ? "-" : plain(String(value));
}

/** The columns that fit, with their widths. */
function fit<Row>(
  columns: readonly Column<Row>[],
  natural: (column: Column<Row>) => number,
  width: number,
): Map<Column<Row>, number> {
  const shown = new Map(columns.map((column) => [column, natural(column)]));
  const least = (column: Column<Row>) => Math.min(natural(column), column.min ?? Infinity);
  const total = (of: (column: Column<Row>) => number) =>
    [...shown.keys()].reduce((sum, column) => sum + of(column) + GAP.length, -GAP.length);
  for (const column of columns.filter(({ rank }) => rank > 0).sort((a, b) => b.rank - a.rank)) {
    if (total(least) > width) shown.delete(column);
  }
  // Cut the widest column that may be cut, one character at a time, until the table fits.
  while (total((column) => shown.get(column)!) > width) {
    const widest = [...shown].filter(([column, size]) => size > least(column)).sort((a, b) => b[1] - a[1])[0];
    if (!widest) break;
    shown.set(widest[0], widest[1] - 1);
  }
  return shown;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(width - 1, 0))}…`;
}

/** "Name  value" lines, the names as wide as the widest. What has no value is left out; a long value goes on in the next line. */
export function facts(
  pairs: readonly (readonly [name: string, value: string | number | null | undefined])[],
  width = terminalWidth(),
): string[] {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  const indent = Math.max(...given.map(([name]) => name.length)) + GAP.length;
  return given.flatMap(([name, value]) =>
    wrap(plain(String(value)), width - indent).map((line, index) =>
      index === 0 ? `${color.dim(name)}${" ".repeat(indent - name.length)}${line}` : `${" ".repeat(indent)}${line}`,
    ),
  );
}

/** A text under a row of a table, each line behind `indent`. */
export function wrapped(text: string, indent: string): string[] {
  return wrap(text, terminalWidth() - indent.length).map((line) => indent + line);
}

/** Lines of at most `width` characters, broken at spaces. A longer word stays whole: it may be copied. */
export function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** "10.0.0.5:443", "[2001:db8::1]:443". */
export function endpoint({ address, port }: Endpoint): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** 1.5 kB, 20 MB: at most four characters and the unit. */
export function bytes(count: number): string {
  const unit = Math.min(Math.max(Math.floor(Math.log10(Math.max(count, 1)) / 3), 0), 4);
  const value = count / 1000 ** unit;
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.floor(value)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

/** "1 rule", "2 rules". */
export function amount(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** "14:53:02" today, "11-23 14:53" on other days. */
export function shortTime(ms: number, now = Date.now()): string {
  const [day, time] = fullTime(ms).split(" ");
  return fullTime(now).startsWith(day!) ? time! : `${day!.slice(5)} ${time!.slice(0, 5)}`;
}

/** "2026-11-23 14:53:02", in this machine's time zone. */
export function fullTime(ms: number): string {
  // Not by toLocaleString, which loads all that Node knows of languages.
  const date = new Date(ms);
  const two = (part: number) => String(part).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** "250 ms", "12 s", "5 min", "3 h", "20 d". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const [size, unit] = DURATIONS.find(([size]) => ms >= 2 * size) ?? [1000, "s"];
  return `${Math.floor(ms / size)} ${unit}`;
}

const DURATIONS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
] as const;

const OUTCOME_COLORS: Readonly<Record<string, (text: string) => string>> = {
  decrypted: color.green,
  bypassed: color.yellow,
  plaintext: color.cyan,
  live: color.blue,
  dropped: color.magenta,
};

/** Red: somebody failed. */
export function outcomeColor(outcome: string): (text: string) => string {
  return OUTCOME_COLORS[outcome] ?? color.red;
}

const VERDICT_COLORS = { decrypt: color.green, bypass: color.yellow, drop: color.red } as const;

export function verdictColor(verdict: string | null): (text: string) => string {
  return (verdict !== null && VERDICT_COLORS[verdict as keyof typeof VERDICT_COLORS]) || color.dim;
}
