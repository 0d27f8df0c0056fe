import type { Conntrack } from "../linux/conntrack.ts";

/** The kernel's connection table: once it is full, the kernel drops the packets of new connections, whoever they are for. */

/** The part of the table from which on it is nearly full. */
const NEARLY = 0.9;
/** ms between two lines in the log. */
const BETWEEN = 60_000;

export const CONNTRACK_REMEDY =
  "Raise net.netfilter.nf_conntrack_max (and nf_conntrack_buckets to a quarter of it), or find who opens so many: conntrack -L";

/** A sentence; undefined: there is room. */
export function judgeConntrack(table: Pick<Conntrack, "entries" | "most"> | undefined): string | undefined {
  if (!table || table.entries < table.most * NEARLY) return undefined;
  const { entries, most } = table;
  const what = entries >= most ? "full" : "nearly full";
  return `The kernel's connection table is ${what}, with ${entries} of at most ${most} entries: new connections are lost in a full one`;
}

/** Logs a table that is nearly full, or that has dropped packets, at most once a minute. */
export interface ConntrackWatch {
  look(): void;
}

type Warn = (about: Readonly<Record<string, unknown>>, message: string) => void;

export function createConntrackWatch(
  read: () => Conntrack | undefined,
  warn: Warn,
  now: () => number = () => performance.now(),
): ConntrackWatch {
  let dropped = read()?.dropped ?? 0;
  let next = Number.NEGATIVE_INFINITY;
  return {
    look() {
      if (now() < next) return;
      const table = read();
      if (!table) return;
      const lost = table.dropped - dropped;
      const says = judgeConntrack(table) ?? (lost > 0 ? "The kernel's connection table was full" : undefined);
      if (says === undefined) return;
      dropped = table.dropped;
      next = now() + BETWEEN;
      warn({ ...table, dropped: lost, remedy: CONNTRACK_REMEDY }, says);
    },
  };
}
