import { closeSync, fsyncSync, openSync, readFileSync, readlinkSync, renameSync, writeFileSync } from "node:fs";
import { ConfigError, InvariantError } from "../errors.ts";
import type { Step } from "./step.ts";

/** What was there before a step, as far as undoing it needs to know. */
export type Memory =
  | {
      readonly kind: "settings";
      readonly before: Readonly<Record<string, string>>;
      readonly after: Readonly<Record<string, string>>;
    }
  | { readonly kind: "present"; readonly present: boolean };

export interface Entry {
  readonly step: Step;
  memory?: Memory;
  /** False from before the step until after it: a crash leaves open whether it was done. */
  done: boolean;
}

/** On disk from before the first change until after the last is undone. */
export interface Journal {
  /** The running kernel and its network namespace: another one has nothing of ours. */
  readonly place: string;
  /** The process that wrote it. */
  readonly owner?: Identity;
  readonly entries: Entry[];
}

/** A process, also after its number has gone to another one. */
interface Identity {
  readonly pid: number;
  /** Its start, in the kernel's ticks since boot. */
  readonly since: string;
}

/** The running kernel and the network namespace of this thread. */
export function currentPlace(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return `${boot} ${readlinkSync("/proc/thread-self/ns/net")}`;
}

/** Undefined: there is none. Throws ConfigError. */
export function readJournal(file: string): Journal | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ConfigError("dataDir", `Cannot read ${file}, which says what to take down: ${code}`, { cause: error });
  }
  try {
    return JSON.parse(text) as Journal;
  } catch (error) {
    // It is only ever replaced whole.
    throw new InvariantError(`Cannot read ${file}: it is not the journal that was written there`, { cause: error });
  }
}

/** Replaced whole, and on disk before the step it tells of is done. */
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
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError("dataDir", `Cannot write ${file}, which says what to take down: ${code}`, { cause: error });
  }
}

export function ownIdentity(): Identity {
  return { pid: process.pid, since: startOf(process.pid) ?? "" };
}

export function isRunning({ pid, since }: Identity): boolean {
  return startOf(pid) === since;
}

/** The 22nd field of proc_pid_stat(5); the second is a name, in parentheses, which may hold anything. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie has ended: it waits for its parent to ask.
    return state === "Z" || state === "X" ? undefined : fields[18];
  } catch {
    return undefined;
  }
}
