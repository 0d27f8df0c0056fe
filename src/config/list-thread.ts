import { readlinkSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";
import { compileNow } from "./list-file.ts";

/** The thread that compiles a long list: see `list-file.ts`. Live sessions, carried by other processes, go before it. */

giveWay();
const compiled = compileNow(workerData as string);
parentPort!.postMessage(compiled, [compiled.table.buffer]);

/** Linux has a priority for each thread: "4711/task/4713". */
function giveWay(): void {
  try {
    const [, , thread] = readlinkSync("/proc/thread-self").split("/");
    setPriority(Number(thread), constants.priority.PRIORITY_LOW);
  } catch {
    // Without /proc it competes with the sessions.
  }
}
