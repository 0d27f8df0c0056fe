import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import type net from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { program } from "../../test/needs.ts";
import type { Pki } from "../../test/pki.ts";
import { scratch, until } from "../../test/processes.ts";
import { dialLoopback, harmless, openBench, unhurt } from "./bench.ts";
import { Cgroup } from "./cgroup.ts";
import { type Fault, Skipped } from "./fault.ts";
import { inModes, type Mode, openMode } from "./modes.ts";
import { describe } from "./traffic.ts";

const PARTS = "history";
const FLOOD = 400;

/** What the machine does not give, and a clock that is wrong. */
export const LIMITS: readonly Fault[] = [
  ...inModes(["loopback"], {
    name: "descriptor-limit",
    about: `\`ulimit -n 256\`, and ${FLOOD} silent clients`,
    promise:
      "The start says how many sessions that allows; live sessions are unhurt; the silent ones give way or are refused, which is counted and logged; afterwards new ones are carried",
    parts: PARTS,
    run: exhaustDescriptors,
  }),
  ...inModes(["loopback", "bridge"], {
    name: "memory-limit",
    about: "A cgroup with 512 MiB for all processes of the node",
    promise: "The node says how many sessions that allows, and carries them; no process is killed",
    parts: PARTS,
    run: limitMemory,
  }),
  ...inModes(["loopback", "router"], {
    name: "clock-step",
    about: "The node's clock steps 40 days ahead for 3 s, and back (libfaketime)",
    promise: "Live sessions are unhurt, no record is deleted, and new sessions are whole, meanwhile and afterwards",
    parts: PARTS,
    run: stepClock,
  }),
];

async function exhaustDescriptors(pki: Pki): Promise<string> {
  const options = { openFiles: 256, config: { workers: 1, feeds: [] } };
  await using bench = await openBench(pki, options, { rate: 10 });
  const { node, traffic } = bench;
  const { limits } = await node.stats();
  assert.equal(limits.bound, "open files");
  const running = unhurt(bench);
  running.catch(() => undefined);
  const sockets: net.Socket[] = [];
  const start = performance.now();
  try {
    for (let count = 0; count < FLOOD; count += 20) {
      const some = Array.from({ length: 20 }, () => dialLoopback(node.forward("web"), "127.0.0.9"));
      for (const one of await Promise.allSettled(some))
        if (one.status === "fulfilled") sockets.push(one.value.resume());
    }
    await node.process.shows(/The node is full: /);
    const seen = await running;
    const during = traffic.visits.filter((visit) => visit.start >= start);
    for (const socket of sockets) socket.destroy();
    const after = await traffic.whole(30, performance.now());
    const { met } = (await node.stats()).limits;
    const counts = met.map(({ limit, refused, evicted }) => `${limit}: ${refused} refused, ${evicted} gave way`);
    return `capacity ${limits.sessions} (${limits.bound}); ${counts.join(", ")}; meanwhile ${describe(during)}, then ${describe(after)}; ${seen}`;
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

const MEMORY = "/sys/fs/cgroup/memory";
const MEBIBYTE = 2 ** 20;

async function limitMemory(pki: Pki, mode: Mode): Promise<string> {
  if (!existsSync(join(MEMORY, "memory.limit_in_bytes"))) throw new Skipped("there is no cgroup for memory here");
  const folder = join(MEMORY, `clearline-faults-${process.pid}`);
  await using group = new Cgroup(folder);
  group.write("memory.limit_in_bytes", 512 * MEBIBYTE);
  const within = ["sh", "-c", `echo $$ > ${folder}/cgroup.procs && exec "$@"`, "sh"];
  await using bench = await openMode(mode, pki, { within });
  const seen = await harmless(bench, async () => undefined, mode === "loopback" ? 200 : 100);
  const { limits, workers } = await bench.node.stats();
  assert.ok(workers.every(({ restarts }) => restarts === 0));
  const most = Number(group.read("memory.max_usage_in_bytes")) / MEBIBYTE;
  return `capacity ${limits.sessions} (${limits.bound}), at most ${most.toFixed(0)} MiB used; ${seen}`;
}

/** ms */
const STEP = 3_000;

async function stepClock(pki: Pki, mode: Mode): Promise<string> {
  const library = program("faketime");
  if (!existsSync(library)) throw new Skipped("Debian's package faketime is not installed");
  const file = join(scratch(), "time");
  const set = (offset: string) => writeFileSync(file, `${offset}\n`);
  set("+0");
  const fake = { FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: "1", FAKETIME_DONT_FAKE_MONOTONIC: "1" };
  const env = { LD_PRELOAD: library, ...fake };
  await using bench = await openMode(mode, pki, { env });
  const { node, traffic } = bench;
  const history = join(node.folder, "data/history.db");
  await traffic.whole(40, performance.now());
  const before = await until("records", () => countRecords(history) || undefined);
  const running = unhurt(bench);
  running.catch(() => undefined);
  const begun = performance.now();
  set("+40d");
  const back = begun + STEP;
  await until("the time of the step", () => performance.now() > back);
  set("+0");
  const seen = await running;
  await until("the time after it", () => performance.now() > back + 2 * STEP);
  const after = countRecords(history);
  assert.ok(after >= before, `${before} records before, ${after} afterwards`);
  const visits = traffic.visits.filter(({ start }) => start > begun);
  const failed = visits.flatMap(({ error }) => error ?? []);
  assert.equal(
    failed.length,
    0,
    `${seen}; ${before} records before, ${after} afterwards; ${failed.length} of ${visits.length} new sessions failed since the step: ${failed[0]}`,
  );
  return `${before} records before, ${after} afterwards; meanwhile and afterwards ${describe(visits)}; ${seen}`;
}

function countRecords(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    return Number(database.prepare("SELECT count(*) AS count FROM sessions").get()?.["count"]);
  } finally {
    database.close();
  }
}
