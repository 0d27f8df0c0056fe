import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startClearline } from "./clearline.ts";
import { HERE } from "./hosts.ts";
import { costOf, holdSessions, openSessions, type Plan, type Way } from "./loads.ts";
import { LOOPBACK, type Origin } from "./origin.ts";
import { freePort, listening, type Program, stop, WORKSHOP } from "./processes.ts";
import { align, show } from "./report.ts";
import { median, progress } from "./rounds.ts";

/** What a session costs while something else grows. Each size has a node of its own; the nodes take turns. */
export interface Series {
  readonly title: string;
  /** CPU seconds per 1,000 new sessions, by size. */
  readonly points: readonly { readonly size: number; readonly cost: number }[];
}

/** The costs at the largest size may be this many times those at the smallest. */
export const FLAT = 1.15;

interface Growth {
  readonly name: string;
  readonly title: string;
  readonly sizes: readonly number[];
  /** The node's configuration at this size. */
  readonly settings?: (size: number) => Readonly<Record<string, unknown>>;
  /** That many sessions are live meanwhile. */
  readonly isLive?: true;
}

const GROWTHS: readonly Growth[] = [
  {
    name: "live",
    title: "live sessions",
    sizes: [10, 300, 3000, 20_000],
    isLive: true,
    settings: () => ({ workers: 4 }), // each has two descriptors for each of its sessions
  },
  {
    name: "lists",
    title: "list entries",
    sizes: [1, 1000, 50_000, 500_000],
    settings(size) {
      const file = join(WORKSHOP, `list-${size}.txt`);
      // Every fourth entry is a network, the others are hosts.
      const entry = (index: number) =>
        index % 4 === 3 ? `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}` : `h${index}.example.com`;
      writeFileSync(file, `${Array.from({ length: size }, (_, index) => entry(index)).join("\n")}\n`);
      return { policy: { lists: { bypass: [file] } } };
    },
  },
  {
    name: "rules",
    title: "rules",
    sizes: [1, 32, 256, 2048],
    settings(size) {
      const rule = (index: number) => ({
        name: `rule ${index}`,
        match: index % 2 === 0 ? { host: `*.r${index}.example.com` } : { client: `10.7.${index >> 8}.${index & 255}` },
        action: "bypass",
      });
      return { policy: { rules: Array.from({ length: size }, (_, index) => rule(index)) } };
    },
  },
];

/** Measures all series. `plan.idle` is the share of the live sessions that are opened; there are at least 10. */
export async function measureGrowth(origin: Origin, plan: Plan): Promise<readonly Series[]> {
  const all: Series[] = [];
  for (const growth of GROWTHS) {
    const sizes = plan.rounds > 1 ? growth.sizes : [growth.sizes[0]!, growth.sizes.at(-1)!];
    const scaled = growth.isLive ? sizes.map((size) => Math.max(10, Math.round(size * plan.idle))) : sizes;
    all.push({ title: growth.title, points: await measureSeries(growth, scaled, origin, plan) });
  }
  return all;
}

async function measureSeries(growth: Growth, sizes: readonly number[], origin: Origin, plan: Plan) {
  const nodes: { readonly size: number; readonly way: Way; readonly program: Program; readonly costs: number[] }[] = [];
  const ends: (() => Promise<void>)[] = [];
  for (const [index, size] of sizes.entries()) {
    progress(`growth: ${growth.title}: ${size}, starting`);
    // New sessions go to another address of the origin than those that are held: the kernel would look for a free port among 20,000.
    const way = await forwardTo(LOOPBACK.at(-1)!);
    const held = await forwardTo(LOOPBACK[index]!);
    const listeners = [way, held].map(({ listener }, at) => ({ name: `bench-${at}`, ...listener(origin.port) }));
    const program = await startClearline(origin, {}, { ...growth.settings?.(size), listeners });
    for (const { target } of [way, held]) await listening(program, target.port);
    ends.push(await holdSessions(held, growth.isLive ? size : 10));
    await openSessions(way, 1); // warm-up
    nodes.push({ size, way, program, costs: [] });
  }
  for (let round = 1; round <= plan.rounds; round += 1) {
    for (const { size, way, program, costs } of nodes) {
      progress(`growth: ${growth.title}: ${size}, ${round} of ${plan.rounds}`);
      const { done, cpu } = await costOf(program, () => openSessions(way, plan.seconds));
      costs.push((cpu / done.sessions) * 1000);
    }
  }
  for (const end of ends) await end();
  for (const { program } of nodes) await stop(program);
  return nodes.map(({ size, costs }) => ({ size, cost: median(costs) }));
}

/** A way through the node to one address of the origin. */
async function forwardTo(address: string) {
  const port = await freePort();
  return {
    from: HERE,
    target: { name: HERE.address, address: HERE.address, port },
    listener: (origin: number) => ({
      mode: "forward",
      address: `${HERE.address}:${port}`,
      server: `${address}:${origin}`,
    }),
  };
}

/** How much the cost changes when the size is ten times as large, as a share of the cost at the smallest size (least squares). */
export function slope({ points }: Series): number {
  const xs = points.map(({ size }) => Math.log10(size));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(xs), mean(points.map(({ cost }) => cost))];
  const covariance = points.reduce((sum, { cost }, index) => sum + (xs[index]! - x) * (cost - y), 0);
  return covariance / xs.reduce((sum, value) => sum + (value - x) ** 2, 0) / points[0]!.cost;
}

/** One small table for each series. */
export function growthReport(all: readonly Series[]): string {
  const tables = all.map((series) => {
    const { title, points } = series;
    const [first, last] = [points[0]!.cost, points.at(-1)!.cost];
    const ratio = last / first;
    const rows = [
      [title, ...points.map(({ size }) => size.toLocaleString("en"))],
      ["CPU per 1,000 new sessions (s)", ...points.map(({ cost }) => show(cost))],
    ];
    const change = `${(slope(series) * 100).toFixed(1)} % for each factor of ten`;
    const word = ratio <= FLAT ? "holds" : "MISSED";
    return `${align(rows)}\nslope ${change}; largest to smallest ${ratio.toFixed(2)}, at most ${FLAT}: ${word}`;
  });
  return ["Growth: what a new session costs", ...tables].join("\n\n");
}

/** The growth series, as a table of a document. */
export function growthPage(all: readonly Series[]): string {
  const lines = all.map((series) => {
    const points = series.points.map(({ size, cost }) => `${size.toLocaleString("en")}: ${show(cost)}`);
    return `| ${series.title} | ${points.join(", ")} | ${(slope(series) * 100).toFixed(1)} % |`;
  });
  return ["| growing | CPU s per 1,000 new sessions | slope for each factor of ten |", "|---|---|--:|", ...lines].join(
    "\n",
  );
}
