import { once } from "node:events";
import { setTimeout as after } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { startClearline } from "./clearline.ts";
import { connect, isDecrypted, type Job } from "./client.ts";
import { HERE } from "./hosts.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, run, stop } from "./processes.ts";
import { align } from "./report.ts";
import { progress } from "./rounds.ts";

/** What becomes of sessions while three times as many come as one worker can decrypt, with and without `overload`. */
export interface Overloads {
  readonly seconds: number;
  /** New sessions a second: what the worker decrypts at most, and what came. */
  readonly sustainable: number;
  readonly offered: number;
  readonly off: Overloaded;
  readonly on: Overloaded;
}

interface Overloaded {
  readonly sessions: number;
  readonly failed: number;
  readonly decrypted: number;
  /** ms from when a session was to begin to its answer. */
  readonly p50: number;
  readonly p99: number;
  readonly longest: number;
  /** ms of the longest request of the sessions that were live before, and how many of these ended. */
  readonly live: { readonly longest: number; readonly ended: number };
  /** ms after the load until a new session was decrypted. */
  readonly recovery: number;
}

const TIMES = 3;
const LIVE = 20;
const PROGRAMS = 2;
const THRESHOLD = "50ms";

export async function measureOverload(origin: Origin, seconds: number): Promise<Overloads> {
  progress("overload: what is sustainable");
  const sustainable = await withNode(origin, "off", (job) => sustained(job, Math.min(seconds, 5)));
  const offered = Math.round(sustainable * TIMES);
  const under = (threshold: string) => {
    progress(`overload: ${offered} sessions a second for ${seconds} s, threshold ${threshold}`);
    return withNode(origin, threshold, (job) => overload(job, offered, seconds));
  };
  return { seconds, sustainable, offered, off: await under("off"), on: await under(THRESHOLD) };
}

export function overloadReport({ seconds, sustainable, offered, off, on }: Overloads): string {
  const row = (name: string, read: (one: Overloaded) => string) => [name, read(off), read(on)];
  return [
    `Overload: one worker decrypts ${sustainable.toFixed(0)} new sessions a second; ${offered} came, for ${seconds} s`,
    align([
      ["", "overload off", `eventLoopDelay ${THRESHOLD}`],
      row("new sessions", ({ sessions }) => String(sessions)),
      row("of them failed", ({ failed }) => String(failed)),
      row("of them decrypted", ({ decrypted }) => String(decrypted)),
      row("answer, p50 (ms)", ({ p50 }) => p50.toFixed(0)),
      row("answer, p99 (ms)", ({ p99 }) => p99.toFixed(0)),
      row("answer, longest (ms)", ({ longest }) => longest.toFixed(0)),
      row("live sessions that ended", ({ live }) => `${live.ended} of ${LIVE}`),
      row("longest request of a live session (ms)", ({ live }) => live.longest.toFixed(0)),
      row("decrypted again after the load (ms)", ({ recovery }) => recovery.toFixed(0)),
    ]),
  ].join("\n");
}

async function withNode<T>(origin: Origin, eventLoopDelay: string, work: (job: Job) => Promise<T>): Promise<T> {
  const port = await freePort();
  const listener = { mode: "forward", address: `127.0.0.1:${port}`, server: `127.0.0.1:${origin.port}` };
  const program = await startClearline(origin, listener, { workers: 1, overload: { eventLoopDelay, sessions: "off" } });
  try {
    await listening(program, port);
    return await work({ target: { name: "localhost", address: HERE.address, port } });
  } finally {
    await stop(program);
  }
}

async function overload(job: Job, rate: number, seconds: number): Promise<Overloaded> {
  const live = await Promise.all(Array.from({ length: LIVE }, () => connect(job)));
  const watch = watchLive(live);
  const parts = await Promise.all(Array.from({ length: PROGRAMS }, () => arrivals(job, rate / PROGRAMS, seconds)));
  const ended = performance.now();
  while (!(await isNextDecrypted(job))) await after(50);
  const recovery = performance.now() - ended;
  const watched = await watch.stop();
  const times = parts.flatMap((part) => part.times).sort((a, b) => a - b);
  const decrypted = parts.reduce((sum, part) => sum + part.decrypted, 0);
  const answered = times.filter((time) => time >= 0);
  const at = (part: number) => answered[Math.floor(answered.length * part)] ?? Number.NaN;
  return {
    ...{ sessions: times.length, failed: times.length - answered.length, decrypted },
    ...{ p50: at(0.5), p99: at(0.99), longest: answered.at(-1) ?? Number.NaN, live: watched, recovery },
  };
}

const programAt = (name: string) => fileURLToPath(new URL(name, import.meta.url));

type Arrived = { readonly decrypted: number; readonly times: readonly number[] };

async function arrivals(job: Job, rate: number, seconds: number): Promise<Arrived> {
  const output = await run(process.execPath, [programAt("arrivals.ts"), JSON.stringify({ ...job, rate, seconds })]);
  return JSON.parse(output) as Arrived;
}

/** New sessions a second of clients that wait for each other. */
async function sustained(job: Job, seconds: number): Promise<number> {
  const asked = { ...job, clients: 16, seconds };
  const output = await run(process.execPath, [programAt("sessions.ts"), JSON.stringify(asked)]);
  const { sessions, seconds: took } = JSON.parse(output) as { sessions: number; seconds: number };
  return sessions / took;
}

/** Makes requests in these sessions, one after the other in each, until it is stopped. */
function watchLive(sockets: readonly TLSSocket[]): { stop(): Promise<Overloaded["live"]> } {
  let isOver = false;
  let longest = 0;
  let ended = 0;
  const working = sockets.map(async (socket) => {
    try {
      while (!isOver) {
        const begun = performance.now();
        socket.write("GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n");
        await once(socket, "data");
        longest = Math.max(longest, performance.now() - begun);
        await after(100);
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
      return { longest, ended };
    },
  };
}

async function isNextDecrypted(job: Job): Promise<boolean> {
  const socket = await connect(job);
  const is = isDecrypted(socket);
  socket.destroy();
  return is;
}
