import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Pki } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import { FEED, harmless, since } from "./bench.ts";
import { type Fault, Skipped } from "./fault.ts";
import { FrozenDisk } from "./frozen-disk.ts";
import { ALL, inModes, type Mode, type ModeBench, openMode } from "./modes.ts";
import { describe } from "./traffic.ts";

/** ms. Longer than the kernel leaves a changed page unwritten. */
const HANG = 40_000;

/** File systems without room, and one that does not answer. */
export const DISKS: readonly Fault[] = [
  ...inModes(ALL, {
    name: "history-disk-full",
    about: "The data folder's file system is full, and then has room again",
    promise:
      "No session is hurt; the history says why it stops; with room again, it goes on, and no record of those minutes is missing",
    parts: "history",
    run: fillHistory,
  }),
  ...inModes(ALL, {
    name: "feed-disk-full",
    about: "The file system of a pcapng feed is full, and then has room again",
    promise: "No session is hurt; the feed stops, counts what it leaves out, and runs again",
    parts: "pcapng feed",
    run: fillFeed,
  }),
  ...inModes(ALL, {
    name: "data-disk-hangs",
    about: `The data folder's disk hangs for ${HANG / 1000} s (a frozen file system), and then goes on`,
    promise:
      "No session is hurt; health says it, and each command is answered; what must be on record first is refused; when the disk goes on, no record of that time is missing",
    parts: "history",
    run: hangData,
  }),
  ...inModes(["loopback", "router"], {
    name: "worker-killed-while-disk-hangs",
    about: "SIGKILL of a worker while the data folder's disk hangs (a frozen file system)",
    promise: "A new worker takes its place, and carries sessions while the disk still hangs",
    parts: "",
    run: loseWorkerMeanwhile,
  }),
  ...inModes(["loopback", "bridge"], {
    name: "feed-disk-hangs",
    about:
      "The disk of a pcapng feed, of a feed of lines and of a log target hangs (a frozen file system), and then goes on",
    promise: "No session is hurt; health tells of each, and of none once the disk goes on",
    parts: "pcapng and tls-log feeds, log files",
    run: hangFeeds,
  }),
];

async function loseWorkerMeanwhile(pki: Pki, mode: Mode): Promise<string> {
  await using disk = new FrozenDisk("data");
  await using bench = await openMode(mode, pki, { prepare: disk.mount, config: { feeds: [] } });
  const { node, traffic } = bench;
  disk.freeze();
  try {
    await until("a stopped history", async () => (await node.stats()).history.state === "stopped");
    const [victim] = (await node.stats()).workers;
    const start = performance.now();
    process.kill(victim!.pid, "SIGKILL");
    await until("a new worker that reports", async () => {
      const worker = (await node.stats()).workers.find(({ id }) => id === victim!.id);
      return worker?.pid !== victim!.pid && worker?.memory !== undefined;
    });
    const back = since(start);
    const after = await traffic.whole(60, performance.now());
    return `a new worker after ${back}; then ${describe(after)}`;
  } finally {
    disk.thaw();
  }
}

async function hangFeeds(pki: Pki, mode: Mode): Promise<string> {
  await using disk = new FrozenDisk("captures");
  const lines = { name: "lines", kind: "tls-log", file: "./captures/tls.json" };
  const log = { targets: [{ kind: "stderr" }, { kind: "file", directory: "./captures/log" }], sessions: true };
  const options = { prepare: disk.mount, config: { feeds: [FEED, lines], log } };
  await using bench = await openMode(mode, pki, options);
  const { node, traffic } = bench;
  const told = async () => {
    const { reasons } = (await node.stats()).health;
    return reasons.filter(({ fact }) => fact === "feeds" || fact === "log");
  };
  let [stopped, back] = ["", ""];
  const seen = await harmless(bench, async () => {
    disk.freeze();
    const start = performance.now();
    const reasons = await until("both feeds and the log in health", async () => {
      const all = await told();
      return all.length === 3 && all;
    });
    stopped = `${since(start)} ("${reasons[0]?.reason}")`;
    await traffic.whole(20, performance.now());
    const thawed = performance.now();
    disk.thaw();
    await until("feeds and a log that run", async () => (await told()).length === 0);
    back = since(thawed);
  });
  return `health told of all three after ${stopped}, and of none ${back} after the disk went on; ${seen}`;
}

async function hangData(pki: Pki, mode: Mode): Promise<string> {
  await using disk = new FrozenDisk("data");
  await using bench = await openMode(mode, pki, { prepare: disk.mount, config: { feeds: [] } });
  const { node, traffic } = bench;
  const before = performance.now();
  let [told, stats, refused, back] = ["", "", "", ""];
  const seen = await harmless(bench, async () => {
    disk.freeze();
    const start = performance.now();
    const stopped = await until("the fact in health", async () =>
      (await node.stats()).health.reasons.find(({ fact }) => fact === "history"),
    );
    told = `${since(start)} ("${stopped.reason}")`;
    await node.process.shows(/The history stops; sessions go on/);
    const asked = performance.now();
    assert.match((await node.command("stats")).stdout, /stopped: /);
    stats = since(asked);
    const changed = performance.now();
    const { code, stderr } = await node.command("cache", "flush");
    assert.equal(code, 1, stderr);
    assert.match(stderr, /the audit log .* cannot be used/);
    refused = since(changed);
    await until("the time of the hang", () => performance.now() - start > HANG);
    await traffic.whole(20, performance.now());
    const thawed = performance.now();
    disk.thaw();
    await until("a history that runs", async () => (await node.stats()).history.state === "running");
    back = since(thawed);
  });
  const recorded = await recordedSince(bench, before);
  return `${seen}; health said it after ${told}, \`clearline stats\` took ${stats}, a change was refused after ${refused}; the history runs again after ${back}, and has all ${recorded} sessions`;
}

async function fillHistory(pki: Pki, mode: Mode): Promise<string> {
  await using disk = new SmallDisk("data");
  await using bench = await openMode(mode, pki, { prepare: disk.mount, config: { feeds: [] } });
  const { node, traffic } = bench;
  const before = performance.now();
  let back = "";
  const seen = await harmless(bench, async () => {
    disk.fill();
    await until("a stopped history", async () => (await node.stats()).history.state === "stopped");
    await node.process.shows(/The history stops; sessions go on/);
    await traffic.whole(20, performance.now());
    const start = performance.now();
    disk.free();
    await until("a history that runs", async () => (await node.stats()).history.state === "running");
    back = since(start);
  });
  const recorded = await recordedSince(bench, before);
  return `${seen}; the history runs again after ${back}, and has all ${recorded} sessions`;
}

/** Resolves with the number of whole new sessions since then, once each is on record. */
function recordedSince({ node, traffic }: ModeBench, before: number): Promise<number> {
  const whole = traffic.visits.filter(({ start, error }) => start >= before && error === undefined);
  return until("every session on record", () => {
    const ports = portsIn(join(node.folder, "data/history.db"));
    return whole.every(({ port }) => ports.has(port)) && whole.length;
  });
}

function portsIn(file: string): ReadonlySet<number> {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const rows = database.prepare("SELECT record ->> '$.client.port' AS port FROM sessions WHERE ended IS NOT NULL");
    return new Set(rows.all().map(({ port }) => Number(port)));
  } finally {
    database.close();
  }
}

async function fillFeed(pki: Pki, mode: Mode): Promise<string> {
  await using disk = new SmallDisk("captures");
  await using bench = await openMode(mode, pki, { prepare: disk.mount, config: { feeds: [FEED] } });
  const { node, traffic } = bench;
  // Absent until a worker has reported.
  const feed = async () => (await node.stats()).feeds[0];
  let back = "";
  let reason = "";
  const seen = await harmless(bench, async () => {
    disk.fill();
    const stopped = await until("a stopped feed", async () => {
      const info = await feed();
      return info?.state === "stopped" && info.dropped > 0 && info;
    });
    reason = stopped.reason ?? "";
    await traffic.whole(20, performance.now());
    const start = performance.now();
    disk.free();
    await until("a feed that runs", async () => (await feed())?.state === "running");
    back = since(start);
  });
  assert.match(reason, /no space left/i);
  return `${seen}; the feed said "${reason}", left out ${(await feed())?.dropped} packets, and runs again after ${back}`;
}

/** A small file system in a folder of a node. It is unmounted when the scope ends. */
class SmallDisk implements AsyncDisposable {
  readonly #name: string;
  #folder: string | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  readonly mount = (folder: string): void => {
    const place = join(folder, this.#name);
    mkdirSync(place, { mode: 0o700 });
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m,mode=700", "none", place], { stdio: "pipe" });
    } catch {
      throw new Skipped("no file system can be mounted here");
    }
    this.#folder = place;
    // Before the folder is removed, whose file system this is.
    process.prependListener("exit", this.#unmount);
  };

  readonly #unmount = (): void => {
    if (this.#folder !== undefined) execFileSync("umount", ["-l", this.#folder]);
    this.#folder = undefined;
    process.off("exit", this.#unmount);
  };

  /** Leaves no byte. What others write afterwards does not fit either. */
  fill(): void {
    const file = openSync(this.#ballast(), "w");
    try {
      for (const size of [1024 * 1024, 4096]) {
        for (const block = Buffer.alloc(size); ; ) if (writeSync(file, block) < size) break;
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#ballast(), { force: true });
  }

  #ballast(): string {
    return join(this.#folder!, "ballast");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unmount();
  }
}
