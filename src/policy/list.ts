import { isAddressEntry } from "./address-set.ts";
import { readHostEntry } from "./host-set.ts";

export interface ListProblem {
  /** The line number, from 1. */
  readonly line: number;
  readonly message: string;
}

/**
 * Reads a bypass or decrypt list: one address, subnet, range or host name per line. Blank lines, and text after a "#", are
 * ignored. Any other line is a problem. `unended`: the number of a last line that no line end follows: the file may have been cut off in
 * the middle of it.
 */
export function readList(text: string): {
  readonly entries: readonly string[];
  readonly problems: readonly ListProblem[];
  readonly unended: number | undefined;
} {
  const entries: string[] = [];
  const problems: ListProblem[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  for (const [index, line] of lines.entries()) {
    const entry = line.replace(/#.*/, "").trim();
    if (entry === "") continue;
    if (isAddressEntry(entry) || readHostEntry(entry)) entries.push(entry);
    else
      problems.push({
        line: index + 1,
        message: `${quote(entry)} is neither an address, a subnet, a range nor a host name`,
      });
  }
  return { entries, problems, unended: lines.at(-1)?.trim() ? lines.length : undefined };
}

function quote(entry: string): string {
  return JSON.stringify(entry.length > 60 ? `${entry.slice(0, 60)}…` : entry);
}
