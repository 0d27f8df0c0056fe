import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

/**
 * A control group whose processes together get a part of one core, however many cores there are. So a program can be measured at its limit
 * on a machine whose other programs, the clients and the origin, are far from theirs.
 */
export interface Quota {
  /** Puts these processes into the group, on the last CPU; their children follow. */
  hold(pids: readonly number[]): void;
  /** CPU time that its processes have used, in seconds. */
  cpu(): number;
}

const ROOT = "/sys/fs/cgroup";
/** µs in which the part is given out: short, so that who has used it up waits only for milliseconds. */
const PERIOD = 10_000;

/** The group goes when this process exits. Throws where control groups cannot be made. */
export function openQuota(part: number): Quota {
  const isFirst = existsSync(join(ROOT, "cpu", "cpu.cfs_quota_us"));
  const group = join(ROOT, isFirst ? "cpu" : "", `clearline-bench-${process.pid}`);
  const quota = Math.round(PERIOD * part);
  try {
    if (!isFirst) writeFileSync(join(ROOT, "cgroup.subtree_control"), "+cpu");
    mkdirSync(group);
    process.once("exit", () => remove(group));
    if (isFirst) {
      writeFileSync(join(group, "cpu.cfs_period_us"), String(PERIOD));
      writeFileSync(join(group, "cpu.cfs_quota_us"), String(quota));
    } else writeFileSync(join(group, "cpu.max"), `${quota} ${PERIOD}`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`The overload is measured on a part of a core, and no control group can be made for it: ${why}`);
  }
  // The kernel gives out the part in pieces, for each CPU: on several, much of it is left over.
  const last = String(availableParallelism() - 1);
  let held: readonly number[] = [];
  return {
    hold(pids) {
      for (const pid of pids) {
        writeFileSync(join(group, "cgroup.procs"), String(pid));
        execFileSync("taskset", ["--all-tasks", "--pid", "--cpu-list", last, String(pid)], { stdio: "ignore" });
      }
      held = pids;
    },
    cpu: () => held.reduce((sum, pid) => sum + cpuOf(pid), 0),
  };
}

function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100; // USER_HZ is 100 on every Linux that Node runs on
}

/** A group can be removed once the last of its processes has gone: those of the bench are killed when it exits. */
function remove(group: string): void {
  for (let tries = 0; tries < 50; tries += 1) {
    try {
      rmdirSync(group);
      return;
    } catch {
      execFileSync("sleep", ["0.05"]);
    }
  }
}
