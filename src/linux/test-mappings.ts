import { readFileSync } from "node:fs";

/** For tests: bytes of a mapped file that are in this process's memory. */
export function residentBytes(file: string): number {
  const [, mapping = ""] = readFileSync("/proc/self/smaps", "utf8").split(file);
  return Number(/^Rss: +(\d+) kB$/m.exec(mapping)?.[1]) * 1024;
}
