import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { uptime } from "node:os";
import { dirname } from "node:path";
import { ConfigError } from "../errors.ts";
import type { Step } from "./step.ts";

/** The state before a step, as far as undoing the step needs it. */
export type StateBefore =
  | {
      readonly kind: "settings";
      readonly before: Readonly<Record<string, string>>;
      readonly after: Readonly<Record<string, string>>;
    }
  | { readonly kind: "present"; readonly present: boolean }
  /** The numbers of the programs that were there, and the step's own. */
  | { readonly kind: "programs"; readonly before: readonly number[]; readonly own?: number }
  /** The same, for each of the step's hooks in their order. */
  | { readonly kind: "program-set"; readonly before: readonly (readonly number[])[]; readonly own?: readonly number[] };

export interface JournalEntry {
  readonly step: Step;
  memory?: StateBefore;
  /** False from before the step until after it. If it is still false after a crash, the step may or may not have been done. */
  done: boolean;
}

/** The file is there from before the first step is done until after the last step is undone. Mode 0600. */
export interface Journal {
  /** The boot and the network namespace that the steps were done in. In another one there is nothing to undo. */
  readonly place: string;
  /** The process that wrote it. */
  readonly owner?: Identity;
  readonly entries: JournalEntry[];
}

/** A process. The start time tells it from a later process with the same number. */
interface Identity {
  readonly pid: number;
  /** Its start, in clock ticks since boot. */
  readonly since: string;
}

/** The current boot and the network namespace of this thread. */
export function currentPlace(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `${boot} ${readlinkSync("/proc/thread-self/ns/net")}`;
}

/** Undefined: there is no journal. Throws ConfigError. */
export function readJournal(file: string): Journal | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ConfigError("dataDir", `Cannot read ${file}, the list of what to take down: ${code}`, { cause: error });
  }
  return parse(text) ?? replaceUnusable(file);
}

function parse(text: string): Journal | undefined {
  try {
    const journal = JSON.parse(text);
    const { place, entries } = journal;
    return typeof place === "string" && Array.isArray(entries) && entries.every(isEntry) ? journal : undefined;
  } catch {
    return undefined;
  }
}

function isEntry(value: unknown): boolean {
  const { step, done } = Object(value);
  return typeof step?.kind === "string" && typeof done === "boolean";
}

/**
 * The file is only ever replaced as a whole, but a disk may lose what it had said to be written. After another boot nothing of what it
 * listed is left.
 */
function replaceUnusable(file: string): Journal {
  if (statSync(file).mtimeMs < Date.now() - uptime() * 1000) return { place: "another boot", entries: [] };
  const way =
    'Start the machine again, or take down by hand what "clearline inline plan" shows. Then remove the file and start the node again';
  throw new ConfigError("dataDir", `Cannot use ${file}, the list of what to take down: it is damaged. ${way}`);
}

/** Replaces the file as a whole. When this returns, it is on disk. */
export function writeJournal(file: string, journal: Journal): void {
  const draft = `${file}.new`;
  try {
    const fd = openSync(draft, "w", 0o600);
    try {
      writeFileSync(fd, JSON.stringify(journal));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, file);
    syncFolder(dirname(file));
  } catch (error) {
    rmSync(draft, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError("dataDir", `Cannot write ${file}, the list of what to take down: ${code}`, { cause: error });
  }
}

/** After this a rename in the folder survives a power cut. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function ownIdentity(): Identity {
  return { pid: process.pid, since: startOf(process.pid) ?? "" };
}

export function isRunning({ pid, since }: Identity): boolean {
  return startOf(pid) === since;
}

/** The 22nd field of proc_pid_stat(5). The second field is a name in parentheses, which may hold spaces and parentheses. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Z, a zombie, and X, dead: the process has ended.
    return state === "Z" || state === "X" ? undefined : fields[18];
  } catch {
    return undefined;
  }
}
