import { readFileSync } from "node:fs";

/** The kernel's table of connections, of the network namespace that this process is in. */
export interface Conntrack {
  readonly entries: number;
  readonly most: number;
  /** Packets that were dropped because the table was full, since the machine started. */
  readonly dropped: number;
}

const SETTINGS = "/proc/sys/net/netfilter/nf_conntrack_";
const COUNTERS = "/proc/net/stat/nf_conntrack";

/** Undefined: the kernel follows no connections, or this user may not look. */
export function readConntrack(): Conntrack | undefined {
  try {
    const [entries = 0, most = 0] = ["count", "max"].map((name) => Number(readFileSync(SETTINGS + name, "utf8")));
    return most > 0 ? { entries, most, dropped: droppedIn(readCounters()) } : undefined;
  } catch {
    return undefined;
  }
}

/** Not all kernels have them. */
function readCounters(): string {
  try {
    return readFileSync(COUNTERS, "utf8");
  } catch {
    return "";
  }
}

/** A line of names, and for each CPU a line of hexadecimal numbers. */
export function droppedIn(counters: string): number {
  const [names = [], ...cpus] = counters
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  const at = names.indexOf("drop");
  return at < 0 ? 0 : cpus.reduce((sum, cpu) => sum + Number.parseInt(cpu[at] ?? "0", 16), 0);
}
