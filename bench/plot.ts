import { type Series, slope } from "./growth.ts";
import { picture, round } from "./picture.ts";
import { show } from "./report.ts";

const PANEL = { width: 280, height: 220, left: 56, top: 60, right: 24, bottom: 44 };
const STYLE = {
  light: ".line { stroke: #0969da; fill: none } .dot { fill: #0969da }",
  dark: ".line { stroke: #58a6ff } .dot { fill: #58a6ff }",
};

/** Draws each series as a panel: its size on a logarithmic axis, its costs from zero up, so that flat looks flat. */
export function plot(all: readonly Series[]): string {
  const highest = Math.max(...all.flatMap(({ points }) => points.map(({ cost }) => cost)));
  const top = ceiling(highest * 1.1);
  const width = all.length * (PANEL.width + PANEL.left + PANEL.right);
  const height = PANEL.top + PANEL.height + PANEL.bottom;
  const panels = all.map((series, index) => panel(series, index * (PANEL.width + PANEL.left + PANEL.right), top));
  const title = `CPU seconds per 1,000 new sessions, by ${all.map((series) => series.title).join(", by ")}`;
  return picture({ title, width, height, ...STYLE }, panels);
}

/** The next round number. */
function ceiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((round) => round >= value)!;
}

function panel(series: Series, left: number, top: number): string {
  const { title, points } = series;
  const [first, last] = [points[0]!.size, points.at(-1)!.size].map(Math.log10) as [number, number];
  const x = (size: number) => round(left + PANEL.left + ((Math.log10(size) - first) / (last - first)) * PANEL.width);
  const y = (cost: number) => round(PANEL.top + PANEL.height * (1 - cost / top));
  const marks = [0, top / 2, top].map(
    (cost) =>
      `  <line class="grid" x1="${x(points[0]!.size)}" x2="${x(points.at(-1)!.size)}" y1="${y(cost)}" y2="${y(cost)}"/>` +
      `<text class="dim" x="${left + PANEL.left - 8}" y="${y(cost) + 4}" text-anchor="end">${Number(show(cost))}</text>`,
  );
  // The labels at both ends stay between them.
  const anchor = (index: number) => (index === 0 ? "start" : index === points.length - 1 ? "end" : "middle");
  const sizes = points.map(
    ({ size, cost }, index) =>
      `  <circle class="dot" cx="${x(size)}" cy="${y(cost)}" r="3.5"/>` +
      `<text class="text" x="${x(size)}" y="${y(cost) - 9}" text-anchor="${anchor(index)}">${show(cost)}</text>` +
      `<text class="dim" x="${x(size)}" y="${PANEL.top + PANEL.height + 18}" text-anchor="${anchor(index)}">${shortly(size)}</text>`,
  );
  const line = points.map(({ size, cost }) => `${x(size)},${y(cost)}`).join(" ");
  const change = `slope ${(slope(series) * 100).toFixed(1)} % for each factor of ten`;
  return [
    `  <text class="text" x="${left + PANEL.left}" y="26" font-size="13" font-weight="600">CPU s per 1,000 sessions, by ${title}</text>`,
    `  <text class="dim" x="${left + PANEL.left}" y="44">${change}</text>`,
    ...marks,
    `  <polyline class="line" points="${line}" stroke-width="2"/>`,
    ...sizes,
  ].join("\n");
}

/** Labels of neighbours must not meet. */
function shortly(size: number): string {
  return size >= 10_000 && size % 1000 === 0 ? `${size / 1000}k` : size.toLocaleString("en");
}
