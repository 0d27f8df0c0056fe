import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ProxyPlace } from "./client.ts";
import type { Host } from "./hosts.ts";
import { BIG, UPLOAD } from "./origin.ts";
import { descriptors, type Program, run, start, stop, usage } from "./processes.ts";

/** How clients reach the target: directly, or with CONNECT through a proxy. */
export interface Way {
  readonly from: Host;
  readonly target: Target;
  readonly proxy?: ProxyPlace;
}

export interface Target {
  /** The name or the address that clients ask for. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** A way for clients, and the program on it. */
export interface Subject {
  readonly name: string;
  readonly way: Way;
  /** The program whose CPU time and memory count; undefined: the kernel forwards. */
  readonly program: Program | undefined;
}

/** What one run tells: the number that is compared, and how much work was done in a second. */
export interface Reading {
  readonly cost: number;
  readonly rate?: number;
}

/** How long each run is. */
export interface Plan {
  readonly rounds: number;
  readonly seconds: number;
  readonly connects: number;
  /** The share of the named number of idle sessions that are opened. */
  readonly idle: number;
}

/** What a load may ask for beside its subject. */
export interface Surroundings {
  readonly plan: Plan;
  readonly subjects: readonly Subject[];
  /** Values that are measured once and are the same for all subjects. */
  readonly once: Map<string, number>;
}

export interface Load {
  readonly title: string;
  readonly unit: string;
  /** Absent: the load has no rate. */
  readonly rateUnit?: string;
  /** The program must have just started, because programs use freed memory again. */
  readonly isFresh?: true;
  of(subject: Subject, around: Surroundings): Promise<Reading>;
}

/** How many clients open new sessions at the same time. */
export const CLIENTS = 16;

/** The name in every certificate of the bench. */
export const SERVER_NAME = "localhost";

const GIB = 2 ** 30;
const MIB = 2 ** 20;

function bytes(direction: "down" | "up", sessions: number): Load {
  return {
    title: `CPU per GiB, ${direction}, ${sessions} session${sessions > 1 ? "s" : ""}`,
    unit: "s",
    rateUnit: "MiB/s",
    async of({ way, program }, { plan }) {
      const { done, cpu } = await costOf(program, async () => {
        const moved = await transfer(way, direction, sessions, plan.seconds);
        // What curl has sent may still be in buffers in front of the program.
        if (program && direction === "up") await quiet(program, 50);
        return moved;
      });
      return { cost: cpu / (done.bytes / GIB), rate: done.bytes / MIB / done.seconds };
    },
  };
}

function idle(sessions: number): Load {
  return {
    title: `memory per session, ${sessions.toLocaleString("en")} idle`,
    unit: "KiB",
    isFresh: true,
    async of({ way, program }, { plan }) {
      // A program of one process needs two descriptors for each session.
      const count = Math.min(Math.round(sessions * plan.idle), Math.floor(descriptors() / 2) - 100);
      return { cost: program ? await memoryOfIdle(way, program, count) : Number.NaN };
    },
  };
}

export const LOADS = {
  "down 1": bytes("down", 1),
  "down 32": bytes("down", 32),
  "up 1": bytes("up", 1),
  "up 32": bytes("up", 32),
  sessions: {
    title: "CPU per 1,000 new sessions",
    unit: "s",
    rateUnit: "1/s",
    async of({ way, program }, { plan }) {
      const { done, cpu } = await costOf(program, () => openSessions(way, plan.seconds));
      return { cost: (cpu / done.sessions) * 1000, rate: done.sessions / done.seconds };
    },
  },
  "idle 1,000": idle(1000),
  "idle 10,000": idle(10_000),
  "beside downloads": {
    title: "request beside 16 downloads, p50",
    unit: "ms",
    async of({ way }, { plan }) {
      const downloads = transfer(way, "down", 16, plan.seconds + 2);
      // At a fixed rate: one request after another would be sent mostly while the subject happens to be idle.
      const times = await requestTimes(way, { sessions: 1, seconds: plan.seconds, rate: 100, delay: 1 });
      await downloads;
      return { cost: quantile(times, 0.5) };
    },
  },
  "quarter load": {
    title: "latency added at quarter load, p99",
    unit: "ms",
    async of({ way }, { plan, subjects, once }) {
      if (!once.has("quarter")) {
        // What the peer carries at most, or without a peer what the origin answers.
        const measured = subjects.find(({ name }) => name === "sslsplit") ?? subjects[0]!;
        const times = await requestTimes(measured.way, { sessions: CLIENTS, seconds: plan.seconds });
        once.set("quarter", times.length / plan.seconds / 4);
      }
      const rate = once.get("quarter")!;
      const times = await requestTimes(way, { sessions: CLIENTS, seconds: 2 * plan.seconds, rate });
      return { cost: quantile(times, 0.99) };
    },
  },
  connect: {
    title: "TCP connect, median",
    unit: "ms",
    async of({ way }, { plan }) {
      return { cost: quantile(await connectTimes(way, plan.connects), 0.5) };
    },
  },
} as const satisfies Record<string, Load>;

export type LoadName = keyof typeof LOADS;

/** The smallest value that at least this share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** The work's result, and the CPU seconds of the program meanwhile; NaN without a program. */
export async function costOf<T>(program: Program | undefined, work: () => Promise<T>) {
  const before = program ? usage(program).cpu : Number.NaN;
  const done = await work();
  return { done, cpu: program ? usage(program).cpu - before : Number.NaN };
}

/**
 * Carries bodies in parallel with one curl, for at most `seconds` (curl then exits with 28). Resolves with the bytes of all
 * sessions, and the seconds that they took. Throws when all of them carried nothing.
 */
async function transfer(way: Way, direction: "down" | "up", sessions: number, seconds: number) {
  const { from, target, proxy } = way;
  const url = `https://${SERVER_NAME}:${target.port}${direction === "down" ? BIG : UPLOAD}`;
  const body = direction === "down" ? [] : ["-H", "Expect:", "-T", "big"];
  const targets = Array.from({ length: sessions }, () => [...body, "-o", "/dev/null", url]).flat();
  const report = ["-w", `%{size_${direction}load} %{time_total}\\n`];
  const options = ["-q", "-k", "-s", "--http1.1", "--max-time", `${seconds}`, ...report];
  const where = ["--connect-to", `${SERVER_NAME}::${target.name}:`];
  const many = sessions > 1 ? ["--parallel", "--parallel-immediate", "--parallel-max", `${sessions}`] : [];
  const scheme = proxy?.tls ? "https" : "http";
  const through =
    proxy === undefined ? [] : ["--proxy-insecure", "--proxy", `${scheme}://${proxy.address}:${proxy.port}`];
  const output = await run("curl", [...options, ...where, ...many, ...through, ...targets], from);
  const rows = output
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  const idle = sessions - rows.filter(([size]) => size! > 0).length;
  if (idle === sessions) throw new Error(`curl carried nothing to or from ${url}: ${output.split("\n")[0]}`);
  if (idle > 0) process.stderr.write(`bench: ${idle} of ${sessions} sessions carried nothing\n`);
  const carried = rows.reduce((sum, [size]) => sum + size!, 0);
  return { bytes: carried, seconds: Math.max(...rows.map(([, time]) => time!)) };
}

/** Opens sessions with one small request each. Throws when one fails. */
export async function openSessions(
  way: Way,
  seconds: number,
  more: { readonly resumes?: boolean; readonly version?: string } = {},
): Promise<{ sessions: number; resumed: number; seconds: number }> {
  return await client("sessions.ts", way, { clients: CLIENTS, seconds, ...more });
}

interface Requests {
  readonly sessions: number;
  readonly seconds: number;
  /** Requests a second, of all sessions together. Absent: each follows the answer to the one before. */
  readonly rate?: number;
  /** Seconds before the first. */
  readonly delay?: number;
}

/** The times of small requests on open sessions, in ms. */
async function requestTimes(way: Way, requests: Requests): Promise<readonly number[]> {
  return await client("requests.ts", way, { ...requests });
}

/** The times of `count` TCP connects, one after another, as their client sees them, in ms. */
async function connectTimes({ from, target }: Way, count: number): Promise<readonly number[]> {
  const output = await run(
    process.execPath,
    [pathOf("connects.ts"), target.address, `${target.port}`, `${count}`],
    from,
  );
  const times = output === "" ? [] : (JSON.parse(output) as number[]);
  if (times.length < count) throw new Error(`A connection to ${target.address}:${target.port} was not made`);
  return times;
}

/** How many times sessions were held, so that each program has a log of its own. */
let held = 0;

/** How many sessions one program holds: its descriptors are limited. */
const HOLDER = 8000;

/** Opens sessions that send one request and then stay silent. Resolves with a function that closes them. */
export async function holdSessions(way: Way, count: number): Promise<() => Promise<void>> {
  const ends: (() => Promise<void>)[] = [];
  const end = async () => {
    for (const each of ends) await each();
  };
  try {
    for (let open = 0; open < count; open += HOLDER) ends.push(await hold(way, Math.min(HOLDER, count - open)));
  } catch (error) {
    await end();
    throw error;
  }
  return end;
}

async function hold(way: Way, count: number): Promise<() => Promise<void>> {
  const { target, proxy } = way;
  const job = JSON.stringify({ target, proxy, count, clients: CLIENTS });
  held += 1;
  const holder = start(`holder ${held}`, process.execPath, [pathOf("holder.ts"), job], way.from);
  const deadline = performance.now() + 10_000 + count * 20;
  for (;;) {
    const output = readFileSync(holder.log, "utf8");
    if (output.includes("held")) return () => stop(holder);
    if (holder.child.exitCode !== null || performance.now() > deadline) {
      await stop(holder);
      throw new Error(`${count} sessions could not be held: ${output.trim().split("\n").slice(0, 8).join(" ")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Measures the memory, in KiB, that each of the idle sessions adds to a program that has served a few sessions. */
async function memoryOfIdle(way: Way, program: Program, sessions: number): Promise<number> {
  await (await holdSessions(way, 50))();
  await quiet(program);
  const before = usage(program).memory;
  const end = await holdSessions(way, sessions);
  await quiet(program);
  const after = usage(program).memory;
  await end();
  return (after - before) / sessions / 1024;
}

/** Waits until the program is idle: it uses less than a tenth of a core in this time (ms), and has given back what it does not need. */
async function quiet(program: Program, time = 2_500): Promise<void> {
  for (let spent = 1; spent > time / 10_000; ) {
    const before = usage(program).cpu;
    await new Promise((resolve) => setTimeout(resolve, time));
    spent = usage(program).cpu - before;
  }
}

/** What a client and the origin see of a way: it shows that all subjects do the same work, and who decrypts. */
export async function conditions(way: Way): Promise<string> {
  const { seen } = await client<{ seen: string }>("sessions.ts", way, { clients: 1, seconds: 0, shows: true });
  return seen;
}

/** Runs a program of the bench with this job. Throws with its last words when it gives no answer. */
async function client<T>(
  file: string,
  { from, target, proxy }: Way,
  job: Readonly<Record<string, unknown>>,
): Promise<T> {
  const output = await run(process.execPath, [pathOf(file), JSON.stringify({ target, proxy, ...job })], from);
  try {
    return JSON.parse(output) as T;
  } catch {
    throw new Error(`Clients of ${target.name}:${target.port} failed: ${output.trim() || "they said nothing"}`);
  }
}

function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
