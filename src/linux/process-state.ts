import { readFileSync } from "node:fs";

/** What the main thread of a process does. */
export interface ThreadState {
  /** A letter of proc_pid_stat(5): "R" runs or waits for the CPU, "S" sleeps, "D" waits for a disk, "T" is stopped, "t" is traced. */
  readonly state: string;
  /** CPU time so far, in ms, in steps of 10. */
  readonly cpu: number;
}

/** The kernel tells times in ticks of 10 ms, whatever its own are. */
const TICK = 10;

/** Undefined: there is no such process, or this user may not look. */
export function mainThread(pid: number): ThreadState | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/task/${pid}/stat`, "utf8");
    // The program's name, in parentheses, may hold spaces and parentheses itself.
    const [state = "", ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, cpu: (Number(fields[10]) + Number(fields[11])) * TICK };
  } catch {
    return undefined;
  }
}
