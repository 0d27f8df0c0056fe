import type { WorkerStatus } from "../messages.ts";
import type { LimitName } from "../vocabulary.ts";

/**
 * What the workers count, summed over the node's life. A worker reports its own sums, which begin at 0 when the worker is started
 * again, and when a reload removes a feed or tool and adds it again. The totals here never fall.
 */
export interface Counts {
  /** A worker's latest sums. */
  report(worker: number, status: WorkerStatus): void;
  /** Sums that come from elsewhere, such as the kernel. */
  add(source: string, sums: readonly Sum[]): void;
  /** The worker has ended: its sums stay in the totals, and the next process in its place begins at 0. */
  end(worker: number): void;
  /** Everything counted under this key; 0 when nothing was. */
  total(key: string): number;
}

type Sum = readonly [key: string, value: number];

/** The keys of the totals. */
export const KEYS = {
  feed: (kind: string, name: string, count: (typeof FEED_COUNTS)[number]) => `feed ${kind} ${name} ${count}`,
  strangers: (tool: string) => `strangers ${tool}`,
  cache: (name: string, count: "hits" | "misses") => `cache ${name} ${count}`,
  cpu: (worker: number) => `cpu ${worker}`,
  dnsNegative: "dns negative",
  overloaded: (what: "bypassed" | "dropped") => `${what} for overload`,
  turnedAway: (limit: LimitName, what: "refused" | "evicted") => `${what} by ${limit}`,
} as const;

const FEED_COUNTS = ["sessions", "packets", "bytes", "dropped"] as const;

export function createCounts(): Counts {
  const totals = new Map<string, number>();
  const latest = new Map<string, ReadonlyMap<string, number>>();

  function add(source: string, sums: readonly Sum[]): void {
    const before = latest.get(source);
    const now = new Map(sums);
    for (const [key, value] of now) {
      const last = before?.get(key) ?? 0;
      // A sum that is smaller than it was began at 0 again.
      const grown = value >= last ? value - last : value;
      totals.set(key, (totals.get(key) ?? 0) + grown);
    }
    latest.set(source, now);
  }

  return {
    report: (worker, status) => add(sourceOf(worker), sumsOf(worker, status)),
    add,
    end: (worker) => void latest.delete(sourceOf(worker)),
    total: (key) => totals.get(key) ?? 0,
  };
}

function sourceOf(worker: number): string {
  return `worker ${worker}`;
}

function sumsOf(worker: number, { cpu, dns, feeds, tools, caches, turnedAway, overload }: WorkerStatus): Sum[] {
  return [
    [KEYS.cpu(worker), cpu],
    [KEYS.dnsNegative, dns.negative],
    [KEYS.overloaded("bypassed"), overload.bypassed],
    [KEYS.overloaded("dropped"), overload.dropped],
    ...turnedAway.flatMap(({ limit, refused, evicted }) => [
      [KEYS.turnedAway(limit, "refused"), refused] as const,
      [KEYS.turnedAway(limit, "evicted"), evicted] as const,
    ]),
    ...feeds.flatMap((feed) =>
      FEED_COUNTS.map((count) => [KEYS.feed(feed.kind, feed.name, count), feed[count]] as const),
    ),
    ...tools.map(({ name, strangers }) => [KEYS.strangers(name), strangers] as const),
    ...caches.flatMap(({ name, hits, misses }) => [
      [KEYS.cache(name, "hits"), hits] as const,
      [KEYS.cache(name, "misses"), misses] as const,
    ]),
  ];
}
