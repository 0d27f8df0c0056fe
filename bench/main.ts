import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { conditions, openSessions } from "./loads.ts";
import { measureIdle, measureSessions, measureThroughput, type Values } from "./measures.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { cleanUpAtExit, stop } from "./processes.ts";
import { medians, type Results, ratios, table } from "./report.ts";
import { missing, SUBJECTS, type Subject, type SubjectName, startSubject } from "./subjects.ts";

/**
 * npm run bench: Clearline beside its peers, in one run, in front of one origin. They take turns, so that what else
 * the machine does troubles all of them; each number is the median of the rounds. `--quick` is one short round,
 * `--only NAME` (again and again) leaves the others out, `--json FILE` writes the numbers.
 */

interface Plan {
  readonly rounds: number;
  readonly secondsOfSessions: number;
  readonly secondsOfDownload: number;
  readonly idleSessions: number;
}

const FULL: Plan = { rounds: 3, secondsOfSessions: 6, secondsOfDownload: 4, idleSessions: 1000 };
const QUICK: Plan = { rounds: 1, secondsOfSessions: 2, secondsOfDownload: 2, idleSessions: 300 };

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    only: { type: "string", multiple: true },
  },
});

cleanUpAtExit();
try {
  await bench(options.quick ? QUICK : FULL);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();

async function bench(plan: Plan): Promise<void> {
  const tools = ["nginx", "hey", "curl", "openssl"].filter(
    (tool) => spawnSync(tool, ["-h"], { stdio: "ignore" }).error,
  );
  if (tools.length > 0) throw new Error(`The bench needs ${tools.join(", ")}: Debian's packages have these names`);
  const present = SUBJECTS.filter((name) => options.only?.includes(name) ?? true).filter((name) => {
    const needed = missing(name);
    if (needed) progress(`skipped ${name}: needs Debian's package ${needed}`);
    return !needed;
  });

  const origin = await startOrigin();
  const loaded = await measureLoads(present, origin, plan);
  const idle = await measureMemory(present, origin, plan);
  await stop(origin.program);
  const results: Results = {};
  for (const name of present) results[name] = medians([...(loaded.runs.get(name) ?? []), ...(idle.get(name) ?? [])]);

  console.log(table(results));
  console.log(
    `${plan.rounds === 1 ? "one run" : `median of ${plan.rounds} runs`}; ${cpus().length} cores, ${cpus()[0]?.model}`,
  );
  for (const [name, seen] of loaded.seen) console.log(`${name}: ${seen}`);
  if (options.json !== undefined) {
    const document = {
      plan,
      cores: cpus().length,
      cpu: cpus()[0]?.model,
      conditions: Object.fromEntries(loaded.seen),
      results,
      ratios: ratios(results),
    };
    writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
  }
}

/** Sessions and throughput: all subjects run, one at a time has work. */
async function measureLoads(names: readonly SubjectName[], origin: Origin, plan: Plan) {
  const runs = new Map<SubjectName, Values[]>();
  const seen = new Map<SubjectName, string>();
  const subjects: Subject[] = [];
  for (const name of names) {
    progress(`${name}: starting`);
    const subject = await startSubject(name, origin);
    subjects.push(subject);
    seen.set(name, await conditions(subject.way));
    await openSessions(subject.way, 1); // warm: certificates issued, code compiled
  }
  for (let round = 1; round <= plan.rounds; round++) {
    for (const subject of subjects) {
      progress(`${subject.name}: sessions and throughput, ${round} of ${plan.rounds}`);
      const values = {
        ...(await measureSessions(subject, plan.secondsOfSessions)),
        ...(await measureThroughput(subject, plan.secondsOfDownload)),
      };
      runs.set(subject.name, [...(runs.get(subject.name) ?? []), values]);
    }
  }
  for (const subject of subjects) if (subject.program !== origin.program) await stop(subject.program);
  return { runs, seen };
}

/** Memory: a fresh program for each run, since freed memory is used again. */
async function measureMemory(names: readonly SubjectName[], origin: Origin, plan: Plan) {
  const runs = new Map<SubjectName, Values[]>();
  for (let round = 1; round <= plan.rounds; round++) {
    for (const name of names) {
      if (name === "direct") continue;
      progress(`${name}: ${plan.idleSessions} idle sessions, ${round} of ${plan.rounds}`);
      const subject = await startSubject(name, origin);
      runs.set(name, [...(runs.get(name) ?? []), await measureIdle(subject, plan.idleSessions)]);
      await stop(subject.program);
    }
  }
  return runs;
}

function progress(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}
