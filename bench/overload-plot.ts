import { IN_TIME, type Overloads, type Second } from "./overload.ts";
import { picture, round } from "./picture.ts";

const WIDTH = 760;
const [LEFT, RIGHT, TOP] = [64, 24, 64];
const LATENCY = { top: TOP, height: 220 };
const SESSIONS = { top: TOP + 220 + 56, height: 120 };
const HEIGHT = SESSIONS.top + SESSIONS.height + 48;
const STYLE = {
  light: `.limit { stroke: #57606a; stroke-dasharray: 4 3 } .on { stroke: #0969da; fill: none } .off { stroke: #cf222e; fill: none }
    .decrypted { fill: #1a7f37 } .bypassed { fill: #0969da; opacity: .45 }`,
  dark: `.limit { stroke: #9da7b1 } .on { stroke: #58a6ff } .off { stroke: #ff7b72 }
    .decrypted { fill: #3fb950 } .bypassed { fill: #58a6ff }`,
};

/** Draws how long new sessions waited in each second, with and without `overload`, and what became of them with it. */
export function overloadPlot({ sustainable, offered, off, on }: Overloads): string {
  const [first, last] = [on.course[0]!.at, on.course.at(-1)!.at + 1];
  const x = (at: number) => round(LEFT + ((at - first) / (last - first)) * (WIDTH - LEFT - RIGHT));
  const title = `${offered} new sessions a second for ${on.seconds} s, three times what is sustainable (${sustainable})`;
  const seconds = Array.from({ length: Math.floor(on.seconds / 10) + 1 }, (_, index) => index * 10);
  const marks = seconds.map((at) => text("dim", x(at), HEIGHT - 18, `${at} s`, "middle"));
  const heading = `  <text class="text" x="${LEFT}" y="26" font-size="13" font-weight="600">${title}</text>`;
  const lines = [heading, ...latencies(x, on.course, off.course), ...counts(x, on.course), ...marks];
  return picture({ title, width: WIDTH, height: HEIGHT, ...STYLE }, lines);
}

type Axis = (value: number) => number;

/** On a logarithmic axis, from 1 ms to 100 s. */
function latencies(x: Axis, on: readonly Second[], off: readonly Second[]): string[] {
  const y = (ms: number) => round(LATENCY.top + LATENCY.height * (1 - Math.log10(Math.min(1e5, Math.max(1, ms))) / 5));
  const line = (kind: string, course: readonly Second[]) => {
    const points = course.filter(({ p99 }) => Number.isFinite(p99)).map(({ at, p99 }) => `${x(at + 0.5)},${y(p99)}`);
    return `  <polyline class="${kind}" points="${points.join(" ")}" stroke-width="2"/>`;
  };
  const grid = [1, 10, 100, 1_000, 10_000, 100_000].map(
    (ms) =>
      `  <line class="${ms === IN_TIME ? "limit" : "grid"}" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(ms)}" y2="${y(ms)}"/>` +
      text("dim", LEFT - 8, y(ms) + 4, ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`, "end"),
  );
  const names = "answers to new sessions, p99 of each second: overload off (red), default settings (blue)";
  return [text("dim", LEFT, 48, names, "start"), ...grid, line("off", off), line("on", on)];
}

function counts(x: Axis, course: readonly Second[]): string[] {
  const highest = Math.max(...course.map(({ decrypted, bypassed }) => decrypted + bypassed));
  const { top, height } = SESSIONS;
  const y = (count: number) => round(top + height * (1 - count / highest));
  const bar = (kind: string, at: number, from: number, to: number) => {
    const size = round(y(from) - y(to));
    const width = Math.max(0.5, round(x(at + 1) - x(at) - 1));
    return size > 0 ? [`  <rect class="${kind}" x="${x(at)}" y="${y(to)}" width="${width}" height="${size}"/>`] : [];
  };
  return [
    text(
      "dim",
      LEFT,
      top - 12,
      "new sessions a second with default settings: decrypted (green), bypassed (blue)",
      "start",
    ),
    ...[0, highest].map(
      (count) =>
        `  <line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(count)}" y2="${y(count)}"/>` +
        text("dim", LEFT - 8, y(count) + 4, String(count), "end"),
    ),
    ...course.flatMap(({ at, decrypted, bypassed }) => [
      ...bar("decrypted", at, 0, decrypted),
      ...bar("bypassed", at, decrypted, decrypted + bypassed),
    ]),
  ];
}

function text(kind: string, x: number, y: number, words: string, anchor: "start" | "middle" | "end"): string {
  return `<text class="${kind}" x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
}
