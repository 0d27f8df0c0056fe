import { CLIENTS, connectTimes, download, downloadPlain, holdSessions, openSessions, type Way } from "./loads.ts";
import { type Program, usage } from "./processes.ts";

/** A subject of the bench: a way for clients, and the program on it. */
export interface Subject {
  readonly name: string;
  readonly way: Way;
  /** The program whose CPU time and memory count; undefined: the kernel forwards. */
  readonly program: Program | undefined;
}

/** One row of a table. */
export interface Row {
  readonly key: string;
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
}

export const ROWS = [
  { key: "sessions", title: `new sessions, ${CLIENTS} clients`, unit: "1/s", better: "more" },
  { key: "cpuPerSessions", title: "CPU per 1,000 sessions", unit: "s", better: "less" },
  { key: "one", title: "throughput, 1 session", unit: "MiB/s", better: "more" },
  { key: "cpuPerGiBOne", title: "CPU per GiB, 1 session", unit: "s", better: "less" },
  { key: "many", title: "throughput, 32 sessions", unit: "MiB/s", better: "more" },
  { key: "cpuPerGiBMany", title: "CPU per GiB, 32 sessions", unit: "s", better: "less" },
  { key: "plain", title: "throughput without TLS", unit: "MiB/s", better: "more" },
  { key: "connect", title: "TCP connect, median", unit: "ms", better: "less" },
  { key: "connectSlow", title: "TCP connect, 99th percentile", unit: "ms", better: "less" },
  { key: "idle", title: "memory per idle session", unit: "KiB", better: "less" },
  { key: "base", title: "memory before them", unit: "MiB", better: "less" },
] as const satisfies readonly Row[];

export type RowKey = (typeof ROWS)[number]["key"];
export type Values = Partial<Record<RowKey, number>>;

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Measures new sessions, each with a full handshake on both legs. */
export async function measureSessions({ way, program }: Subject, seconds: number): Promise<Values> {
  const { done, cpu } = await costOf(program, () => openSessions(way, seconds));
  const rate = { sessions: done.sessions / done.seconds };
  return cpu === undefined ? rate : { ...rate, cpuPerSessions: (cpu / done.sessions) * 1000 };
}

/** Measures downloads over one session, then over 32 in parallel. */
export async function measureThroughput({ way, program }: Subject, seconds: number): Promise<Values> {
  const one = await costOf(program, () => download(way, 1, seconds));
  const many = await costOf(program, () => download(way, 32, seconds));
  const rates = { one: rateOf(one.done), many: rateOf(many.done) };
  if (one.cpu === undefined || many.cpu === undefined) return rates;
  return {
    ...rates,
    cpuPerGiBOne: one.cpu / (one.done.bytes / GIB),
    cpuPerGiBMany: many.cpu / (many.done.bytes / GIB),
  };
}

/** Measures a plaintext download: the limit of the path itself. No value if the way has no plaintext port. */
export async function measurePlain({ way }: Subject, seconds: number): Promise<Values> {
  return way.plainPort === undefined ? {} : { plain: rateOf(await downloadPlain(way, way.plainPort, seconds)) };
}

/** Measures TCP connects, one at a time. No value if clients connect to a proxy instead of the server. */
export async function measureConnects({ way }: Subject, count: number): Promise<Values> {
  if (way.proxy !== undefined) return {};
  const times = await connectTimes(way, count);
  return { connect: quantile(times, 0.5), connectSlow: quantile(times, 0.99) };
}

/** The smallest value that at least this share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

function rateOf({ bytes, seconds }: { bytes: number; seconds: number }): number {
  return bytes / MIB / seconds;
}

async function costOf<T>(program: Program | undefined, work: () => Promise<T>) {
  const before = program && usage(program).cpu;
  const done = await work();
  return { done, cpu: program && before !== undefined ? usage(program).cpu - before : undefined };
}

/** Measures the memory that idle sessions add to a program that has just started and has served a few sessions. */
export async function measureIdle({ way, program }: Subject, sessions: number): Promise<Values> {
  if (program === undefined) return {};
  const endFirst = await holdSessions(way, 50);
  endFirst();
  await quiet(program);
  const before = usage(program).memory;
  const end = await holdSessions(way, sessions);
  await quiet(program);
  const after = usage(program).memory;
  end();
  return { idle: (after - before) / sessions / 1024, base: before / MIB };
}

/** Waits until the program is idle: it uses less than a tenth of a core. */
async function quiet(program: Program): Promise<void> {
  for (let spent = 1; spent > 0.05; ) {
    const before = usage(program).cpu;
    await new Promise((resolve) => setTimeout(resolve, 500));
    spent = usage(program).cpu - before;
  }
}
