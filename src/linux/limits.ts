import { readFileSync } from "node:fs";

/** How many files this process may have open: sockets count. Node raises the soft limit to the hard one when it starts. */
export function openFileLimit(): number {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  return soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}
