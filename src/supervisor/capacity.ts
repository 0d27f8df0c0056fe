import { totalmem } from "node:os";
import type { Config } from "../config/schema.ts";
import { openFileLimit } from "../linux/limits.ts";
import type { Capacity } from "../messages.ts";
import type { LimitName } from "../vocabulary.ts";

/** What the machine gives each process. */
export interface Resources {
  /** The most files and sockets of one process. */
  readonly openFiles: number;
  /** Bytes for the whole node. */
  readonly memory: number;
}

/** What this process may have, and the control group that it runs in. */
export function resourcesHere(): Resources {
  // Without a limit the kernel reports a number above every memory.
  return { openFiles: openFileLimit(), memory: Math.min(process.constrainedMemory() || totalmem(), totalmem()) };
}

const MIB = 2 ** 20;
/** Resident memory of an idle supervisor, of an idle worker, and for each session: docs/performance.md. */
const SUPERVISOR = 150 * MIB;
const WORKER = 120 * MIB;
const SESSION = 128 * 2 ** 10;
/** A part of a process's descriptors is for listeners, feeds, its channels, and connections that are being refused. */
const RESERVED = { part: 1 / 4, least: 64, most: 256 };

/** How many sessions each worker may have at one time: its share of `limits.sessions`, or what its resources allow. */
export function capacityOf(config: Pick<Config, "limits" | "tools">, workers: number, resources: Resources): Capacity {
  const { openFiles, memory } = resources;
  const reserved = Math.min(Math.max(openFiles * RESERVED.part, RESERVED.least), RESERVED.most);
  // Na and Nb, and Ta and Tb of each tool.
  const byFiles = (openFiles - reserved) / (2 + 2 * config.tools.length);
  const byMemory = (memory - SUPERVISOR - workers * WORKER) / SESSION / workers;
  const bounds: readonly (readonly [LimitName, number])[] = [
    ["limits.sessions", Math.ceil(config.limits.sessions / workers)],
    ["open files", Math.floor(byFiles)],
    ["memory", Math.floor(byMemory)],
  ];
  const [bound, sessions] = bounds.reduce((least, one) => (one[1] < least[1] ? one : least));
  return { sessions: Math.max(1, sessions), bound };
}

/** How many connections without the token the API keeps: the supervisor needs descriptors to start workers, too. */
export function connectionLimits({ openFiles }: Resources): { readonly all: number; readonly perPeer: number } {
  const all = Math.min(256, Math.max(16, Math.floor(openFiles / 8)));
  return { all, perPeer: Math.ceil(all / 8) };
}

interface CapacityState {
  readonly active: { readonly loaded: { readonly config: Pick<Config, "limits" | "tools"> } };
  readonly resources: Resources;
  readonly workers: { readonly count: number };
}

/** How many sessions each worker of this node may have now. */
export function capacityNow({ active, resources, workers }: CapacityState): Capacity {
  return capacityOf(active.loaded.config, workers.count, resources);
}

/** Warns when the node cannot carry what its configuration allows. */
export function warnOfCapacity(state: CapacityState, warn: (message: string) => void): void {
  const { bound, sessions } = capacityNow(state);
  if (bound === "limits.sessions") return;
  const { openFiles, memory } = state.resources;
  const why =
    bound === "memory"
      ? `the memory (${Math.floor(memory / MIB)} MiB) is`
      : `the open files of a process (${openFiles}; ulimit -n, LimitNOFILE) are`;
  const wanted = `limits.sessions is ${state.active.loaded.config.limits.sessions}`;
  warn(
    `${wanted}, but ${why} enough for ${sessions * state.workers.count} only. Give the node more, or lower the limit`,
  );
}
