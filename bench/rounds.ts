import {
  conditions,
  holdSessions,
  LOADS,
  type Load,
  openSessions,
  type Plan,
  type Reading,
  type Subject,
} from "./loads.ts";
import type { Origin } from "./origin.ts";
import { stop } from "./processes.ts";
import { resumes, type SubjectName } from "./subjects.ts";
import type { Group, Row } from "./table.ts";

/** Readings by load, then by subject: the medians of the rounds. */
export type Readings = Readonly<Record<string, Readonly<Record<string, Reading>>>>;

export interface Measured {
  readonly readings: Readings;
  /** What a client and the origin saw of each subject before the first round. */
  readonly conditions: Readonly<Record<string, string>>;
  /** One sentence for each measure that failed, whose value is missing. */
  readonly failures: readonly string[];
}

export type StartSubject = (name: SubjectName) => Promise<Subject>;

/** The subjects that these rows need, in their order. What is added to all is measured without a node between too. */
export function subjectsOf(rows: readonly Row[]): readonly SubjectName[] {
  const direct = rows.some(({ compare }) => compare === "added") ? (["direct"] as const) : [];
  return [...new Set([...direct, ...rows.flatMap(({ theirs, ours }) => [theirs, ours])])];
}

/** Measures all subjects of a group in turns, `rounds` times. After a failure the other measures go on. */
export async function measure(group: Group, origin: Origin, start: StartSubject, plan: Plan): Promise<Measured> {
  const failures: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    progress(`${group.name}: ${what}`);
    try {
      await work();
    } catch (error) {
      failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      progress(`failed: ${failures.at(-1)}`);
    }
  };
  const runs = new Map<string, Map<string, Reading[]>>();
  const keep = (load: string, subject: string, reading: Reading) => {
    const of = runs.get(load) ?? new Map<string, Reading[]>();
    runs.set(load, of.set(subject, [...(of.get(subject) ?? []), reading]));
  };

  const running = group.rows.filter(({ load }) => !isFresh(load));
  const { subjects, seen } = await startAll(subjectsOf(running), start, attempt);
  if (running.some(({ load }) => load === "sessions")) {
    for (const subject of subjects) await attempt(`${subject.name}: warming up`, () => warmUp(subject));
  }
  const around = { plan, subjects, once: new Map<string, number>() };
  for (let round = 1; round <= plan.rounds; round += 1) {
    for (const load of loadsOf(group)) {
      for (const name of subjectsOf(group.rows.filter((row) => row.load === load))) {
        const subject = isFresh(load) ? undefined : subjects.find((one) => one.name === name);
        if (!subject && !isFresh(load)) continue; // it could not be started
        await attempt(`${name}: ${LOADS[load].title}, ${round} of ${plan.rounds}`, async () => {
          const measured = subject ?? (await start(name));
          try {
            keep(load, name, await LOADS[load].of(measured, around));
          } finally {
            if (!subject) await stopUnless(origin, measured);
          }
        });
      }
    }
  }
  for (const subject of subjects) await stopUnless(origin, subject);
  const readings = Object.fromEntries(
    [...runs].map(([load, of]) => [load, Object.fromEntries([...of].map(([name, all]) => [name, medians(all)]))]),
  );
  return { readings, conditions: seen, failures };
}

async function startAll(
  names: readonly SubjectName[],
  start: StartSubject,
  attempt: (what: string, work: () => Promise<void>) => Promise<void>,
): Promise<{ subjects: readonly Subject[]; seen: Record<string, string> }> {
  const seen: Record<string, string> = {};
  const subjects: Subject[] = [];
  for (const name of names) {
    await attempt(`${name}: starting`, async () => {
      const subject = await start(name);
      await (await holdSessions(subject.way, 300))(); // certificates are issued, most code is loaded
      seen[name] = await conditions(subject.way);
      mustDoSameWork(name, seen[name]);
      subjects.push(subject);
    });
  }
  return { subjects, seen };
}

/** New sessions before the first round, and the most ms for them. */
const WARM_UP = { sessions: 4_000, time: 10_000 };

/** A node runs for weeks, but V8 compiles its code only while it carries the first thousands of sessions, which cost a quarter more. */
async function warmUp({ way }: Subject): Promise<void> {
  const deadline = performance.now() + WARM_UP.time;
  for (let opened = 0; opened < WARM_UP.sessions && performance.now() < deadline; ) {
    opened += (await openSessions(way, 1)).sessions;
  }
}

/** Throws when a leg or the certificate has another curve than those of all others, or when the server leg is resumed although its row says it is not. */
function mustDoSameWork(name: SubjectName, seen: string): void {
  const isResumed = seen.endsWith("resumed: r");
  const curves = seen.match(/\bprime256v1\b/g)?.length; // the group of each leg, and the certificate's key
  if (curves !== 3 || isResumed !== resumes(name)) throw new Error(`It does other work than the row says: ${seen}`);
}

async function stopUnless(origin: Origin, { program }: Subject): Promise<void> {
  if (program && program !== origin.program) await stop(program);
}

function loadsOf(group: Group) {
  return [...new Set(group.rows.map(({ load }) => load))];
}

function isFresh(load: keyof typeof LOADS): boolean {
  return (LOADS[load] as Load).isFresh === true;
}

/** The middle of the runs: of their costs, and of their rates. */
export function medians(runs: readonly Reading[]): Reading {
  const rates = runs.flatMap(({ rate }) => rate ?? []);
  return { cost: median(runs.map(({ cost }) => cost)), ...(rates.length > 0 && { rate: median(rates) }) };
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

export function progress(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}
