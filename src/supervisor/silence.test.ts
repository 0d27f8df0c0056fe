import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { mainThread, type ThreadState } from "../linux/process-state.ts";
import { judgeSilence, type Silence, watchSilence } from "./silence.ts";

const at = (state: string, cpu: number): ThreadState => ({ state, cpu });

test("What is stopped, sleeps through its reports or is busy with one thing hangs; what waits for the CPU does not", () => {
  const cases: [
    now: ThreadState | undefined,
    before: ThreadState | undefined,
    silent: number,
    why: string | undefined,
  ][] = [
    [at("T", 0), at("T", 0), 9_000, "it is stopped"],
    [at("t", 0), at("R", 0), 9_000, "it is stopped"],
    [at("S", 100), at("S", 100), 9_000, "it waits for something"],
    [at("S", 110), at("S", 100), 9_000, undefined],
    [at("S", 110), at("S", 100), 31_000, "it says nothing"],
    [at("R", 7_000), at("R", 6_000), 9_000, "it is busy with one thing"],
    [at("R", 1_300), at("R", 1_200), 9_000, undefined],
    [at("R", 1_300), at("R", 1_300), 3_600_000, undefined],
    [at("S", 1_300), at("R", 1_300), 9_000, undefined],
    [at("D", 100), at("D", 100), 9_000, undefined],
    [at("D", 100), at("D", 100), 31_000, "it says nothing"],
    [undefined, undefined, 9_000, undefined],
    [undefined, undefined, 31_000, "it says nothing"],
  ];
  for (const [now, before, silent, why] of cases)
    assert.equal(
      judgeSilence(now, { ...(before && { before }), last: at("S", 1_000), silent }),
      why,
      JSON.stringify(now),
    );
});

/** A process that says nothing, watched, and whether it was found to hang, or to be starved. */
async function watched(t: TestContext, script: string, look?: (pid: number) => ThreadState | undefined) {
  const child = spawn("sh", ["-c", script], { stdio: "ignore" });
  await once(child, "spawn");
  t.after(() => child.kill("SIGKILL"));
  const pid = child.pid!;
  const seen = Promise.withResolvers<string>();
  let silence: Silence | undefined;
  silence = watchSilence({
    ...{ silence: 20, first: 20, between: 20 },
    look: () => (look ?? mainThread)(pid),
    onStarved: () => seen.resolve("starved"),
    onHang: (why) => seen.resolve(why),
  });
  t.after(() => silence.stop());
  return { seen: seen.promise, pid };
}

test("A process that is stopped is found by its state in the kernel", async (t) => {
  const { seen, pid } = await watched(t, "while :; do :; done", (one) => {
    process.kill(one, "SIGSTOP");
    return mainThread(one);
  });
  assert.equal(await seen, "it is stopped");
  process.kill(pid, "SIGCONT");
});

test("A process that sleeps when it should report is found", async (t) => {
  const { seen } = await watched(t, "exec sleep 60");
  assert.equal(await seen, "it waits for something");
});

test("A process that runs, and has not had much CPU time, is spared", async (t) => {
  const { seen } = await watched(t, "while :; do :; done");
  assert.equal(await seen, "starved");
});
