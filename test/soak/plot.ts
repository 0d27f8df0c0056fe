import { QUANTITIES, type Quantity, type Sample } from "./samples.ts";

const [WIDTH, HEIGHT] = [900, 110];
/** Of a curve. A long soak has more samples: of those that share a point, the largest counts. */
const POINTS = 300;

/** A curve for each quantity over time, each on its own scale. */
export function plot(samples: readonly Sample[]): string {
  const last = Math.max(1, samples.at(-1)?.at ?? 1);
  const names = Object.keys(QUANTITIES) as Quantity[];
  const panels = names.map((name, index) => panel(samples, name, last, index * HEIGHT));
  const height = names.length * HEIGHT + 20;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#444" role="img" aria-labelledby="t">
<title id="t">What the node held during the soak</title>
${panels.join("\n")}
<text x="${WIDTH - 20}" y="${height - 8}" text-anchor="end">${samples.at(-1)?.sessions ?? 0} sessions in ${spoken(last)}</text>
</svg>
`;
}

function panel(samples: readonly Sample[], name: Quantity, last: number, top: number): string {
  const most = Math.max(1, ...samples.map((sample) => sample[name]));
  const x = (at: number) => (50 + (at / last) * (WIDTH - 70)).toFixed(1);
  const y = (one: number) => (HEIGHT - 15 - (one / most) * (HEIGHT - 40)).toFixed(1);
  const together = Map.groupBy(samples, ({ at }) => Math.floor((at / last) * POINTS));
  const points = [...together.values()]
    .map((some) => `${x(some[0]!.at)},${y(Math.max(...some.map((sample) => sample[name])))}`)
    .join(" ");
  return `<g transform="translate(0 ${top})">
<text x="50" y="16">${QUANTITIES[name]}</text><text x="44" y="30" text-anchor="end">${most}</text>
<text x="44" y="${HEIGHT - 15}" text-anchor="end">0</text>
<path d="M50 ${HEIGHT - 15}H${WIDTH - 20}" stroke="#888"/>
<polyline points="${points}" fill="none" stroke="#0b62a4" stroke-width="1.5"/></g>`;
}

function spoken(seconds: number): string {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} minutes`;
}
