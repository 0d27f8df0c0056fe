import { conditions, holdSessions } from "./loads.ts";
import { measureIdle, type Subject, type Values } from "./measures.ts";
import type { Origin } from "./origin.ts";
import { stop } from "./processes.ts";
import { medians, type Results } from "./report.ts";

/** One thing that is measured of every subject. */
export interface Measure {
  readonly name: string;
  readonly of: (subject: Subject) => Promise<Values>;
}

/** Who takes part: started when its turn comes, and again where memory is measured. */
export interface Contest<Name extends string> {
  readonly names: readonly Name[];
  readonly origin: Origin;
  readonly start: (name: Name) => Promise<Subject>;
  readonly rounds: number;
  readonly measures: readonly Measure[];
  /** Sessions that stay silent while memory is read; 0: memory is not measured. */
  readonly idleSessions: number;
}

export interface Measured {
  readonly results: Results;
  /** What a client saw of each subject before the first round. */
  readonly conditions: Readonly<Record<string, string>>;
  /** What went wrong, a sentence each: its value is missing, and the others stand. */
  readonly failures: readonly string[];
}

/** Measures each subject so many times, in turns. One that fails misses its values; the rest goes on. */
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

/** All subjects run, one at a time has work. */
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
      (await holdSessions(subject.way, 300))(); // warm: certificates issued, code compiled
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

/** A fresh program for each run, since freed memory is used again. */
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
