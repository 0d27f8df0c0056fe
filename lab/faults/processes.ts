import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { setPriority } from "node:os";
import { join } from "node:path";
import { descendants } from "../../test/node.ts";
import type { Pki } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import { type Bench, liveByPort, openBench, recovery, since, startAgain } from "./bench.ts";
import { Cgroup } from "./cgroup.ts";
import { type Fault, Skipped } from "./fault.ts";
import { ALL, inModes, type Mode, type ModeBench, openMode } from "./modes.ts";
import { describe } from "./traffic.ts";

const PARTS = "pcapng feed";
/** New sessions that must be carried after a fault. */
const ENOUGH = 60;

/** What happens to a worker, and what is said of its sessions. */
export const PROCESSES: readonly Fault[] = [
  ...inModes(ALL, {
    name: "worker-killed",
    about: "SIGKILL of a worker",
    promise:
      "Sessions of the other worker are unhurt; those of the dead one are reset, never cut as if complete, and on record; a new worker carries sessions",
    parts: PARTS,
    quick: true,
    run: (pki, mode) => loseWorker(pki, mode, "SIGKILL"),
  }),
  ...inModes(ALL, {
    name: "worker-hangs",
    about: "SIGSTOP of a worker",
    promise: "It is found, killed and replaced, with a log line; sessions of the other worker are unhurt",
    parts: PARTS,
    run: (pki, mode) => loseWorker(pki, mode, "SIGSTOP"),
  }),
  ...inModes(["loopback"], {
    name: "worker-starved",
    about:
      "A worker shares a thousandth of one CPU with a program that never waits, until it has said nothing for 10 s (a cgroup)",
    promise: "It is not taken for one that hangs: the log says that it waits for the CPU, and its sessions live on",
    parts: PARTS,
    run: starveWorker,
  }),
  ...inModes(ALL, {
    name: "supervisor-killed",
    about: "SIGKILL of the supervisor, and a new start",
    promise:
      "The workers end with it; the next start has the same CA, every live session is on record with an end, and new ones are carried",
    parts: PARTS,
    run: loseSupervisor,
  }),
];

async function loseWorker(pki: Pki, mode: Mode, signal: "SIGKILL" | "SIGSTOP"): Promise<string> {
  const clients = mode === "loopback" ? 8 : 6;
  await using bench = await openMode(mode, pki, {}, { downloads: clients, idle: clients });
  const { node, traffic } = bench;
  const [victim] = (await node.stats()).workers;
  const ports = [...traffic.downloading(), ...traffic.idle.map(({ port }) => port)];
  const live = await until("all sessions on the table", async () => {
    const table = await liveByPort(node);
    return ports.every((port) => table.has(port)) && table;
  });
  const isLost = (port: number) => live.get(port)?.worker === victim!.id;
  const running = traffic.finish();
  const start = performance.now();
  process.kill(victim!.pid, signal);
  const back = await until("a new worker", async () => {
    const worker = (await node.stats()).workers.find(({ id }) => id === victim!.id);
    return worker !== undefined && worker.pid !== victim!.pid && since(start);
  });
  const kept = await othersUnhurt(bench, await running, isLost);
  const after = await traffic.whole(ENOUGH, performance.now());
  if (signal === "SIGSTOP") await node.process.shows(/"msg":"A worker hangs; it is killed"/);
  const lost = ports.filter(isLost).length;
  const recorded = await until("the ends of the lost sessions", async () => {
    const ended = new Map((await node.sessions({ live: "false" })).map((session) => [session.client.port, session]));
    const reasons = ports.filter(isLost).map((port) => ended.get(port)?.closeReason ?? "");
    return reasons.every((reason) => /worker/i.test(reason)) && reasons.length;
  });
  assert.equal(recorded, lost);
  return `${kept}; ${lost} of the lost worker were reset, ${recorded} on record; a new worker after ${back}; then ${describe(after)}`;
}

const CPU = "/sys/fs/cgroup/cpu";

async function starveWorker(pki: Pki): Promise<string> {
  if (!existsSync(join(CPU, "cpu.cfs_quota_us"))) throw new Skipped("there is no cgroup for the CPU here");
  await using bench = await openBench(pki, {}, { downloads: 0, idle: 8, rate: 5 });
  const { node, traffic } = bench;
  const [victim] = (await node.stats()).workers;
  await using group = new Cgroup(join(CPU, `clearline-faults-${process.pid}`));
  group.write("cpu.cfs_period_us", 1_000_000);
  group.write("cpu.cfs_quota_us", 1_000);
  using greedy = spawn("sh", ["-c", "while :; do :; done"]);
  setPriority(greedy.pid!, -20);
  for (const pid of [greedy.pid!, victim!.pid]) group.write("cgroup.procs", pid);
  const start = performance.now();
  await node.process.shows(/"msg":"A worker is silent because it waits for the CPU"/, 30_000);
  const told = since(start);
  // Longer than a worker that hangs would live.
  await until("more time", () => performance.now() - start > 14_000);
  greedy.kill();
  group.write("cpu.cfs_quota_us", -1);
  const after = await traffic.whole(ENOUGH / 2, performance.now());
  const alive = await Promise.all(traffic.idle.map((one) => one.answers()));
  assert.ok(alive.every(Boolean), `${alive.filter((one) => !one).length} of ${alive.length} idle sessions died`);
  assert.ok((await node.stats()).workers.every(({ restarts }) => restarts === 0));
  return `the log said so after ${told}; no worker was replaced; ${alive.length} idle sessions alive; then ${describe(after)}`;
}

type Ended = Awaited<ReturnType<Bench["traffic"]["finish"]>>;

async function othersUnhurt(
  { traffic }: Pick<ModeBench, "traffic">,
  downloads: Ended,
  isLost: (port: number) => boolean,
): Promise<string> {
  const others = downloads.filter(({ port }) => !isLost(port));
  assert.deepEqual(
    others.flatMap(({ error }) => error ?? []),
    [],
    "downloads of the other worker broke",
  );
  // One may have ended before the fault. The others must not look complete: a reset, and no end.
  const cut = downloads.filter(({ port, error }) => isLost(port) && error === "cut short");
  assert.equal(cut.length, 0, `${cut.length} downloads of the lost worker ended without a reset`);
  const idle = traffic.idle.filter(({ port }) => !isLost(port));
  const alive = await Promise.all(idle.map((one) => one.answers()));
  assert.ok(alive.every(Boolean), "idle sessions of the other worker died");
  return `${others.length} downloads of the other worker whole, its ${idle.length} idle sessions alive`;
}

async function loseSupervisor(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki);
  const { node, traffic } = bench;
  const authority = readFileSync(join(node.folder, "data/ca/primary-ecdsa.pem"), "utf8");
  const ports = traffic.idle.map(({ port }) => port);
  await until("the idle sessions on the table", async () => {
    const table = await liveByPort(node);
    return ports.every((port) => table.get(port)?.verdict === "decrypt");
  });
  // A session is on record within a second of its verdict.
  await traffic.whole(30, performance.now());
  const workers = descendants(node.process.pid);
  const start = performance.now();
  await node.process.stop("SIGKILL");
  await until("an end to the workers", () => workers.every((pid) => !existsSync(`/proc/${pid}`)));
  const ended = since(start);
  const { program, took } = await startAgain(node);
  try {
    const carried = await recovery(traffic, performance.now());
    assert.equal(readFileSync(join(node.folder, "data/ca/primary-ecdsa.pem"), "utf8"), authority);
    const sessions = await node.sessions({ live: "false" });
    const known = ports.filter((port) => sessions.some(({ client, end }) => client.port === port && end !== null));
    assert.equal(known.length, ports.length, `${known.length} of ${ports.length} live sessions are on record`);
    return `workers ended after ${ended}; started again in ${took.toFixed(0)} ms, ${carried}; ${known.length} of ${ports.length} live sessions on record with an end; the CA is the same`;
  } finally {
    await program.stop();
  }
}
