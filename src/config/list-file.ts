import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { type ListProblem, readList } from "../policy/list.ts";
import { packList } from "../policy/list-table.ts";

export interface CompiledList {
  readonly table: Uint8Array;
  /** How many entries the file has. */
  readonly entries: number;
  readonly problems: readonly ListProblem[];
  /** The number of a last line without a line end. */
  readonly unended: number | undefined;
}

/** Half a million hosts take a second and a hundred megabytes for a moment: too much for a process that others wait for. */
const FOR_A_THREAD = 100_000;

/** Compiles the text of a list; a long one in a thread of its own. */
export async function compileList(text: string): Promise<CompiledList> {
  if (text.length < FOR_A_THREAD) return compileNow(text);
  const thread = new Worker(new URL("list-thread.ts", import.meta.url), { workerData: text });
  const [compiled] = (await once(thread, "message")) as [CompiledList];
  return compiled;
}

/** Compiles it in this thread. */
export function compileNow(text: string): CompiledList & { readonly table: Uint8Array<ArrayBuffer> } {
  const { entries, problems, unended } = readList(text);
  return { table: packList(entries), entries: entries.length, problems, unended };
}

/** A file that is being written, or was when a disk was full, often ends in the middle of a line. */
export function unendedWarning(path: string, file: string, line: number): string {
  return `${path}: ${file}:${line}: the last line has no line end, so the file may be cut off in it; end the line if the list is whole`;
}
