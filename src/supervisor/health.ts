import { readdirSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { FeedConfig } from "../config/feed.ts";
import type { HealthReport } from "../control/api.ts";
import { readConntrack } from "../linux/conntrack.ts";
import { capacityNow } from "./capacity.ts";
import { type HealthFacts, judgeHealth, worstOf } from "./health-facts.ts";
import { keyInfos } from "./key-operations.ts";
import { overloadInfo } from "./overload.ts";
import type { NodeState } from "./state.ts";
import { feedInfos } from "./statistics.ts";

/** Reads the facts of now, and judges them. A probe may ask every second: nothing here is slow. */
export async function lookAtHealth(state: NodeState): Promise<HealthReport> {
  const facts = await gatherFacts(state);
  const reasons = judgeHealth(facts);
  return { status: worstOf(reasons), ...(facts.store && { store: facts.store.state }), reasons };
}

/** Tells webhooks of certificates that have expired or will soon. */
export async function tellOfExpiry(state: NodeState): Promise<void> {
  for (const { fact, reason, remedy } of (await lookAtHealth(state)).reasons) {
    if (fact === "authorities" || fact === "keys") state.webhooks.tell("expiry.near", reason, { fact, remedy });
  }
}

async function gatherFacts(state: NodeState): Promise<HealthFacts> {
  const { active, workers, history, sharing, authorities, watch, sessions, standing, limitWatch, clock } = state;
  const { tools } = active.loaded.config;
  const capacity = capacityNow(state);
  return {
    now: Date.now(),
    workers: workers.list(),
    feeds: feedInfos(state),
    logStopped: state.logTargets.stopped,
    tools: tools.map(({ name, onFailure }) => {
      const { up = true, reason } = watch.state(name) ?? {};
      return { name, onFailure, state: up ? "up" : "down", ...(reason !== undefined && { reason }) };
    }),
    history: history.info(),
    store: sharing.fleet?.state(),
    authorities: authorities.list(),
    keys: keyInfos(state),
    disks: await measureDisks(state),
    descriptors: countDescriptors(state),
    sessions: { live: sessions.size, most: capacity.sessions * workers.count, bound: capacity.bound },
    limitsMet: limitWatch.met(),
    overload: overloadInfo(state),
    deviations: await standing.deviations(),
    conntrack: readConntrack(),
    clockMoved: clock.moved(),
  };
}

/** The file systems of the data folder and of the feeds' files. One that is not there is left out: its feed has stopped. */
async function measureDisks({ active }: NodeState): Promise<HealthFacts["disks"]> {
  const { dataDir, feeds } = active.loaded.config;
  const paths = new Set([dataDir, ...feeds.flatMap(folderOf)]);
  const measured = await Promise.all([...paths].map(measureDisk));
  return measured.flatMap((disk) => disk ?? []);
}

/** The folder that a feed writes to. */
export function folderOf(feed: FeedConfig): string[] {
  if ("directory" in feed) return feed.directory === undefined ? [] : [feed.directory];
  return "file" in feed ? [dirname(feed.file)] : [];
}

/** ms that a file system may take to answer. */
const PATIENCE = 1_000;
/** The looks at file systems that have not answered yet: a second one would take another thread of few. */
const looks = new Map<string, Promise<Disk | undefined>>();

type Disk = HealthFacts["disks"][number];

/** In bytes; undefined: there is no such folder. */
export async function measureDisk(path: string): Promise<Disk | undefined> {
  const look = looks.get(path) ?? lookAt(path);
  looks.set(path, look);
  return await Promise.race([look, setTimeout(PATIENCE, { path, free: 0, size: 0, hangs: true }, { ref: false })]);
}

async function lookAt(path: string): Promise<Disk | undefined> {
  try {
    const { bavail, blocks, bsize } = await statfs(path);
    return { path, free: bavail * bsize, size: blocks * bsize };
  } catch {
    return undefined;
  } finally {
    looks.delete(path);
  }
}

/** Undefined: there is no descriptor left to look with. */
function countOwn(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

/** A worker's sockets are most of its descriptors; the others are in its reserve. */
function countDescriptors({ workers, resources }: NodeState): HealthFacts["descriptors"] {
  const limit = resources.openFiles;
  const open = countOwn() ?? limit;
  return [
    { process: "supervisor", open, limit },
    ...workers.list().flatMap(({ id, status }) => {
      return status ? [{ process: `worker ${id}`, open: status.engine.ends, limit }] : [];
    }),
  ];
}
