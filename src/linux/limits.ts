import { readFileSync } from "node:fs";

/** The most files and sockets that this process may have open. Node raises the soft limit to the hard limit at its start. */
export function openFileLimit(): number {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  return soft === undefined || soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}
