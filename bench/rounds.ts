import { conditions, holdSessions } from "./loads.ts";
import { measureIdle, type Subject, type Values } from "./measures.ts";
import type { Origin } from "./origin.ts";
import { stop } from "./processes.ts";
import { medians, type Results } from "./report.ts";

/** A measure, which is taken of every subject. */
export interface Measure {
  readonly name: string;
  readonly of: (subject: Subject) => Promise<Values>;
}

/** The subjects and measures of a comparison. Subjects are started once for the loads, and again for memory. */
export interface Contest<Name extends string> {
  readonly names: readonly Name[];
  readonly origin: Origin;
  readonly start: (name: Name) => Promise<Subject>;
  readonly rounds: number;
  readonly measures: readonly Measure[];
  /** How many silent sessions are open while memory is read; 0: memory is not measured. */
  readonly idleSessions: number;
}

export interface Measured {
  readonly results: Results;
  /** What a client saw of each subject before the first round. */
  readonly conditions: Readonly<Record<string, string>>;
  /** One sentence for each measure that failed, whose value is missing. */
  readonly failures: readonly string[];
}

/** Measures all subjects in turns, `rounds` times. After a failure the other measures go on. */
export async function measure<Name extends string>(contest: Contest<Name>): Promise<Measured> {
  const failures: string[] = [];
  const runs = new Map<string, Values[]>();
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    progress(what);
    try {
      await work();
    } catch (error) {
      failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      progress(failures.at(-1)!);
    }
  };
  const keep = (name: string, values: Values) => runs.set(name, [...(runs.get(name) ?? []), values]);

  const seen = await measureLoads(contest, attempt, keep);
  if (contest.idleSessions > 0) await measureMemory(contest, attempt, keep);
  const results = Object.fromEntries([...runs].map(([name, values]) => [name, medians(values)]));
  return { results, conditions: seen, failures };
}

type Attempt = (what: string, work: () => Promise<void>) => Promise<void>;
type Keep = (name: string, values: Values) => void;

/** Runs all subjects, with load on one at a time. */
async function measureLoads<Name extends string>(
  { names, origin, start, rounds, measures }: Contest<Name>,
  attempt: Attempt,
  keep: Keep,
): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  const subjects: Subject[] = [];
  for (const name of names) {
    await attempt(`${name}: starting`, async () => {
      const subject = await start(name);
      seen[name] = await conditions(subject.way);
      (await holdSessions(subject.way, 300))(); // warm-up: certificates are issued, code is compiled
      subjects.push(subject);
    });
  }
  for (let round = 1; round <= rounds; round++) {
    for (const subject of subjects) {
      for (const { name, of } of measures) {
        const what = `${subject.name}: ${name}, ${round} of ${rounds}`;
        await attempt(what, async () => keep(subject.name, await of(subject)));
      }
    }
  }
  for (const { program } of subjects) if (program && program !== origin.program) await stop(program);
  return seen;
}

/** Starts a new program for each run, because a program uses freed memory again. */
async function measureMemory<Name extends string>(
  { names, origin, start, rounds, idleSessions }: Contest<Name>,
  attempt: Attempt,
  keep: Keep,
): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    for (const name of names) {
      if (name === "direct") continue;
      await attempt(`${name}: ${idleSessions} idle sessions, ${round} of ${rounds}`, async () => {
        const subject = await start(name);
        if (subject.program === undefined || subject.program === origin.program) return;
        try {
          keep(name, await measureIdle(subject, idleSessions));
        } finally {
          await stop(subject.program);
        }
      });
    }
  }
}

export function progress(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}
