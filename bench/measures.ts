import { CLIENTS, download, holdSessions, openSessions } from "./loads.ts";
import { usage } from "./processes.ts";
import type { Subject } from "./subjects.ts";

/** One row of the table. */
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
  { key: "idle", title: "memory per idle session", unit: "KiB", better: "less" },
  { key: "base", title: "memory before them", unit: "MiB", better: "less" },
] as const satisfies readonly Row[];

export type RowKey = (typeof ROWS)[number]["key"];
export type Values = Partial<Record<RowKey, number>>;

const MIB = 2 ** 20;

/** New sessions, each with a full handshake on both legs. */
export async function measureSessions(subject: Subject, seconds: number): Promise<Values> {
  const before = usage(subject.program).cpu;
  const done = await openSessions(subject.way, seconds);
  const cpu = usage(subject.program).cpu - before;
  return { sessions: done.sessions / done.seconds, cpuPerSessions: (cpu / done.sessions) * 1000 };
}

/** Downloads over one session, then over 32 at the same time. */
export async function measureThroughput(subject: Subject, seconds: number): Promise<Values> {
  const one = await throughput(subject, 1, seconds);
  const many = await throughput(subject, 32, seconds);
  return { one: one.rate, cpuPerGiBOne: one.cpu, many: many.rate, cpuPerGiBMany: many.cpu };
}

async function throughput(subject: Subject, sessions: number, seconds: number): Promise<{ rate: number; cpu: number }> {
  const before = usage(subject.program).cpu;
  const done = await download(subject.way, sessions, seconds);
  const cpu = usage(subject.program).cpu - before;
  return { rate: done.bytes / MIB / done.seconds, cpu: cpu / (done.bytes / 2 ** 30) };
}

/** What idle sessions add to the memory of a program that has only just begun and has served a few. */
export async function measureIdle(subject: Subject, sessions: number): Promise<Values> {
  const endFirst = await holdSessions(subject.way, 50);
  endFirst();
  await quiet(subject);
  const before = usage(subject.program).memory;
  const end = await holdSessions(subject.way, sessions);
  await quiet(subject);
  const after = usage(subject.program).memory;
  end();
  return { idle: (after - before) / sessions / 1024, base: before / MIB };
}

/** Waits until the program does nothing more: less than a tenth of one core. */
async function quiet(subject: Subject): Promise<void> {
  for (let spent = 1; spent > 0.05; ) {
    const before = usage(subject.program).cpu;
    await new Promise((resolve) => setTimeout(resolve, 500));
    spent = usage(subject.program).cpu - before;
  }
}
