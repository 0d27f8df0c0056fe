import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { descendants, openFiles, type TestNode } from "../node.ts";

/** What the node held, over time. */

const MIB = 2 ** 20;

/** Each with its title in the plot; the first ones are counted in MiB. */
export const QUANTITIES = {
  memory: "memory of the workers, MiB",
  supervisor: "memory of the supervisor, MiB",
  helpers: "memory of the other processes, MiB",
  heap: "JavaScript's heap of the workers, MiB",
  supervisorHeap: "JavaScript's heap of the supervisor, MiB",
  history: "history on disk, MiB",
  handles: "handles of the event loops",
  descriptors: "descriptors of the workers",
  otherDescriptors: "descriptors of the other processes",
  connections: "TLS connections (SSL)",
  contexts: "TLS contexts (SSL_CTX)",
  ends: "TCP connections and listening sockets",
  caches: "entries of all caches",
} as const;

export type Quantity = keyof typeof QUANTITIES;

export type Sample = { readonly [Name in Quantity]: number } & {
  /** Seconds since the start. */
  readonly at: number;
  /** That have ended. */
  readonly sessions: number;
};

export function watchNode(node: TestNode) {
  const samples: Sample[] = [];
  const start = performance.now();
  const look = async (sessions: number): Promise<Sample> => {
    const [{ workers, supervisor }, caches] = await Promise.all([
      node.stats(),
      node.api<readonly { readonly size: number }[]>("caches"),
    ]);
    const sum = (value: (worker: (typeof workers)[number]) => number) =>
      workers.reduce((all, worker) => all + value(worker), 0);
    const below = descendants(node.process.pid);
    const helpers = below.filter((pid) => !workers.some((worker) => worker.pid === pid));
    const sample = {
      at: (performance.now() - start) / 1000,
      sessions,
      memory: Math.round(sum(({ memory = 0 }) => memory) / MIB),
      supervisor: Math.round(supervisor.memory / MIB),
      helpers: Math.round(helpers.reduce((all, pid) => all + residentOf(pid), 0) / MIB),
      heap: Math.round(sum(({ heap = 0 }) => heap) / MIB),
      supervisorHeap: Math.round(supervisor.heap / MIB),
      history: Math.round(history(node) / MIB),
      handles: supervisor.handles + sum(({ handles = 0 }) => handles),
      descriptors: workers.reduce((all, { pid }) => all + filesOf(pid), 0),
      otherDescriptors: [node.process.pid, ...helpers].reduce((all, pid) => all + filesOf(pid), 0),
      connections: sum(({ engine }) => engine?.connections ?? 0),
      contexts: sum(({ engine }) => engine?.contexts ?? 0),
      ends: sum(({ engine }) => engine?.ends ?? 0),
      caches: caches.reduce((all, { size }) => all + size, 0),
    };
    samples.push(sample);
    return sample;
  };
  return { samples, look };
}

/** A reload runs programs such as nft, which end at any time. */
function filesOf(pid: number): number {
  try {
    return openFiles(pid);
  } catch {
    return 0;
  }
}

/** Bytes: the second number in statm, in pages. */
function residentOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;
  } catch {
    return 0;
  }
}

/** Bytes of the database and its journal. */
function history({ folder }: TestNode): number {
  const data = join(folder, "data");
  return globSync("history.db*", { cwd: data }).reduce(
    (all, name) => all + (statSync(join(data, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
