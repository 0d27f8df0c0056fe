import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../test/processes.ts";
import { listening, start, stop, usage, WORKSHOP } from "./processes.ts";

test("The CPU time and memory of a program's children count as its own, and they end with it", async () => {
  const burn = "while (process.cpuUsage().user < 400_000); setInterval(() => {}, 1000)"; // µs of CPU, however busy the machine is
  const program = start("parent", "sh", [
    "-c",
    `"${process.execPath}" -e '${burn}' & child=$!; echo $child > child; wait`,
  ]);
  // On a busy machine the child may use CPU time before it has its memory, and before the shell has written its pid.
  const child = await until("a child with CPU time and memory", () => {
    const { cpu, memory } = usage(program);
    const isThere = cpu >= 0.2 && memory > 10 * 2 ** 20; // a shell alone is smaller than Node
    const note = join(WORKSHOP, "child");
    return (isThere && existsSync(note) && readFileSync(note, "utf8").trim()) || undefined;
  });
  assert.match(stateOf(child), /[RSD]/);
  await stop(program);
  await until("the end of its child", () => /[ZX]|gone/.test(stateOf(child)));
});

test("A program that cannot be started is named, with the end of its output", async () => {
  const program = start("absent", "sh", ["-c", "echo no such luck >&2; exit 3"]);
  await assert.rejects(listening(program, 1), /Cannot start absent: it does not listen on port 1\n {2}no such luck/);
  await stop(program);
  assert.ok(existsSync(program.log));
});

/** The state letter of proc_pid_stat(5); "gone" when there is no such process. */
function stateOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]![0]!;
  } catch {
    return "gone";
  }
}
