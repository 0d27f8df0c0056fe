import { once } from "node:events";
import { setTimeout as after } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import type { Arrivals, Arrived } from "./arrivals.ts";
import { startClearline } from "./clearline.ts";
import { connect, type Job } from "./client.ts";
import { HERE } from "./hosts.ts";
import { quantile } from "./loads.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, processTree, runWithDescriptors, stop } from "./processes.ts";
import { openQuota, type Quota } from "./quota.ts";
import { align } from "./report.ts";
import { progress } from "./rounds.ts";

/** What becomes of sessions while three times as many come as a node can decrypt, with and without `overload`. */
export interface Overloads {
  /** New sessions a second: the most of which all are decrypted and 99 % answered in time, for 10 s, and what came. */
  readonly sustainable: number;
  readonly offered: number;
  readonly off: Overloaded;
  readonly on: Overloaded;
}

export interface Overloaded {
  /** s of the load. */
  readonly seconds: number;
  readonly sessions: number;
  readonly failed: number;
  readonly decrypted: number;
  /** ms from when a session was due to the first byte of its answer. */
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
  /** ms of the longest request of the sessions that were live before, and how many of these ended. */
  readonly live: { readonly requests: number; readonly longest: number; readonly p99: number; readonly ended: number };
  /** ms from the end of the load until all new sessions were decrypted and answered in time again. */
  readonly recovery: number;
  /** CPU time for each session of the load, in µs: of all processes of the node, and of the clients. */
  readonly cpu: { readonly node: number; readonly clients: number };
  readonly course: readonly Second[];
}

/** The sessions that were due in one second. */
export interface Second {
  /** s from the beginning of the load. */
  readonly at: number;
  readonly decrypted: number;
  readonly bypassed: number;
  readonly p99: number;
}

/** Of one core, for the whole node: the supervisor, its worker, and all their threads. */
export const PART = 0.5;
const TIMES = 3;
/** ms in which 99 of 100 sessions are to be answered. */
export const IN_TIME = 100;
/** Of what the node does at most while sessions queue: what is tried, until enough of them are in time. */
const PARTS = [1.05, 1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5];
const LIVE = 20;
/** ms between two requests of a live session. */
const PAUSE = 250;
/** s at half of the sustainable load before the load and behind it. */
const AROUND = { before: 5, behind: 8 };
/** Without `overload` sessions queue for longer with every second, and clients would give up. */
const MOST_OFF = 10;

/** `seconds`: of the load. */
export async function measureOverload(origin: Origin, seconds: number): Promise<Overloads> {
  const quota = openQuota(PART);
  const most = await withNode(origin, "off", quota, findMost);
  const time = Math.min(seconds, 10);
  const sustainable = await withNode(origin, "on", quota, (job) => findSustainable(job, most, time));
  const offered = sustainable * TIMES;
  const under = (overload: "on" | "off", time: number) => {
    progress(`overload ${overload}: ${offered} sessions a second for ${time} s`);
    return withNode(origin, overload, quota, (job) => runLoad(job, quota, { sustainable, offered, seconds: time }));
  };
  return { sustainable, offered, off: await under("off", Math.min(seconds, MOST_OFF)), on: await under("on", seconds) };
}

async function withNode<T>(
  origin: Origin,
  overload: "on" | "off",
  quota: Quota,
  work: (job: Job) => Promise<T>,
): Promise<T> {
  const port = await freePort();
  const listener = { mode: "forward", address: `127.0.0.1:${port}`, server: `127.0.0.1:${origin.port}` };
  const off = { eventLoopDelay: "off", sessions: "off" };
  const program = await startClearline(origin, listener, { workers: 1, overload: overload === "on" ? {} : off });
  try {
    await listening(program, port);
    const job = { target: { name: "localhost", address: HERE.address, port } };
    quota.hold(processTree(program.child.pid));
    // The program has not run what it will run most yet.
    await arrive(job, [{ rate: 150, seconds: 10 }]);
    return await work(job);
  } finally {
    await stop(program);
  }
}

/** Sessions a second that are decrypted while others queue. */
async function findMost(job: Job): Promise<number> {
  progress("overload: how many sessions can be decrypted at most");
  const { due, took } = await arrive(job, [{ rate: 800, seconds: 4 }]);
  const ended = took.map((time, nth) => (time < 0 ? 0 : time + due[nth]!));
  return took.filter((time) => time >= 0).length / (Math.max(...ended) / 1000);
}

/** The highest rate of those that are tried at which a node with default settings decrypts all sessions, 99 of 100 in time. */
async function findSustainable(job: Job, most: number, seconds: number): Promise<number> {
  for (const part of PARTS) {
    const rate = Math.round(most * part);
    const { took, decrypted } = await arrive(job, [{ rate, seconds }]);
    const late = took.filter((time) => time < 0 || time > IN_TIME).length;
    const bypassed = decrypted.filter((one) => one === 0).length;
    const parts = `${((late / took.length) * 100).toFixed(1)} % are late, ${bypassed} bypassed`;
    progress(`overload: of ${rate} sessions a second, ${parts}`);
    if (late * 100 < took.length && bypassed === 0) return rate;
  }
  throw new Error(`Of ${Math.round(most * PARTS.at(-1)!)} sessions a second too many are late: the machine is busy`);
}

interface Load {
  readonly sustainable: number;
  readonly offered: number;
  readonly seconds: number;
}

async function runLoad(job: Job, quota: Quota, { sustainable, offered, seconds }: Load): Promise<Overloaded> {
  const live = watchLive(await Promise.all(Array.from({ length: LIVE }, () => connect(job))));
  const around = Math.round(sustainable / 2);
  const before = quota.cpu();
  const arrived = await arrive(job, [
    { rate: around, seconds: AROUND.before },
    { rate: offered, seconds },
    { rate: around, seconds: AROUND.behind },
  ]);
  const used = quota.cpu() - before;
  const sessions = sessionsOf(arrived);
  const load = sessions.filter(({ due }) => due >= 0 && due < seconds * 1000);
  const times = load.filter(({ took }) => took >= 0).map(({ took }) => took);
  const behind = sessions.filter(({ due }) => due >= seconds * 1000);
  const last = behind.findLast(({ took, decrypted }) => !decrypted || took < 0 || took > IN_TIME);
  return {
    seconds,
    sessions: load.length,
    failed: load.length - times.length,
    decrypted: load.filter(({ decrypted }) => decrypted).length,
    ...{ p50: quantile(times, 0.5), p99: quantile(times, 0.99), longest: quantile(times, 1) },
    live: await live.stop(),
    recovery: last ? last.due - seconds * 1000 : 0,
    cpu: { node: (used / sessions.length) * 1e6, clients: (arrived.cpu / sessions.length) * 1000 },
    course: courseOf(sessions, seconds),
  };
}

interface Visited {
  /** ms from the beginning of the load. */
  readonly due: number;
  readonly took: number;
  readonly decrypted: boolean;
}

function sessionsOf({ due, took, decrypted }: Arrived): readonly Visited[] {
  return due.map((at, nth) => ({
    due: at - AROUND.before * 1000,
    took: took[nth] ?? -1,
    decrypted: decrypted[nth] === 1,
  }));
}

function courseOf(sessions: readonly Visited[], seconds: number): readonly Second[] {
  const bySecond = Map.groupBy(sessions, ({ due }) => Math.floor(due / 1000));
  return Array.from({ length: AROUND.before + seconds + AROUND.behind }, (_, index) => {
    const at = index - AROUND.before;
    const all = bySecond.get(at) ?? [];
    const decrypted = all.filter((one) => one.decrypted).length;
    const times = all.filter(({ took }) => took >= 0).map(({ took }) => took);
    return { at, decrypted, bypassed: times.length - decrypted, p99: quantile(times, 0.99) };
  });
}

async function arrive(job: Job, phases: Arrivals["phases"]): Promise<Arrived> {
  const program = fileURLToPath(new URL("arrivals.ts", import.meta.url));
  return JSON.parse(
    await runWithDescriptors(process.execPath, [program, JSON.stringify({ ...job, phases })]),
  ) as Arrived;
}

/** Makes requests in these sessions, one after the other in each, until it is stopped. */
function watchLive(sockets: readonly TLSSocket[]): { stop(): Promise<Overloaded["live"]> } {
  let isOver = false;
  let ended = 0;
  const times: number[] = [];
  const working = sockets.map(async (socket) => {
    try {
      while (!isOver) {
        const begun = performance.now();
        socket.write("GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n");
        await once(socket, "data");
        times.push(performance.now() - begun);
        await after(PAUSE);
      }
      socket.destroy();
    } catch {
      ended += 1;
    }
  });
  return {
    async stop() {
      isOver = true;
      await Promise.all(working);
      return { requests: times.length, longest: quantile(times, 1), p99: quantile(times, 0.99), ended };
    },
  };
}

/** The table, as rows of cells: the first one is its head. */
function rowsOf({ off, on }: Overloads): readonly (readonly string[])[] {
  const row = (name: string, read: (one: Overloaded) => string) => [name, read(off), read(on)];
  return [
    ["", "`overload` off", "default settings"],
    row("seconds of load", ({ seconds }) => String(seconds)),
    row("new sessions", ({ sessions }) => sessions.toLocaleString("en")),
    row("of them failed", ({ failed }) => String(failed)),
    row("of them decrypted", ({ decrypted }) => decrypted.toLocaleString("en")),
    row("answer, p50 (ms)", ({ p50 }) => p50.toFixed(0)),
    row("answer, p99 (ms)", ({ p99 }) => p99.toFixed(0)),
    row("answer, longest (ms)", ({ longest }) => longest.toFixed(0)),
    row("live sessions that ended", ({ live }) => `${live.ended} of ${LIVE}`),
    row("requests of live sessions, p99 (ms)", ({ live }) => live.p99.toFixed(0)),
    row("recovered after the load in (ms)", ({ recovery }) => recovery.toFixed(0)),
    row("CPU time of the node for each session, those around the load included (µs)", ({ cpu }) => cpu.node.toFixed(0)),
    row("CPU time of the clients for each (µs)", ({ cpu }) => cpu.clients.toFixed(0)),
  ];
}

export function overloadReport(measured: Overloads): string {
  const { sustainable, offered } = measured;
  const title = `Overload: ${sustainable} new sessions a second are sustainable; ${offered} came`;
  return `${title}\n${align(rowsOf(measured).map((cells) => cells.map((cell) => cell.replaceAll("`", ""))))}`;
}

/** The same for a page. */
export function overloadPage(measured: Overloads): string {
  const [head, ...rows] = rowsOf(measured).map((cells) => `| ${cells.join(" | ")} |`);
  const { sustainable, offered } = measured;
  const says = `Sustainable: ${sustainable} new sessions a second (all decrypted, 99 of 100 answered in ${IN_TIME} ms). Offered: ${offered}.`;
  return [says, "", head, "|---|--:|--:|", ...rows].join("\n");
}
