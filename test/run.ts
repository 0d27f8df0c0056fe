/** Runs the tests as `npm test` does: `node test/run.ts [files…]`. Ends with the runner's counts and the skipped tests. */
import { once } from "node:events";
import { globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { type EventData, run } from "node:test";
import { spec } from "node:test/reporters";

/** A file that hangs is a failure, not a wait. */
const FILE_TIMEOUT = 10 * 60_000;
/** How many of the longest files are listed. */
const LISTED = 12;
const PATTERNS = ["src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.ts"];
/** What a file takes, in seconds, where no earlier run says it: the first that its name begins with. Only good for the order. */
const GUESSES = {
  "test/inline/ordinary": 110,
  "test/tools/inline.test": 65,
  "test/e2e/posture": 55,
  "test/inline/vlans": 50,
  "test/e2e/console": 45,
  "src/kernel/listener/network": 40,
  "test/e2e/processes": 40,
  "test/e2e/fleet": 40,
  "test/e2e/feeds": 35,
  "test/e2e/limits": 30,
  "test/e2e/resumption": 30,
  "test/inline/": 15,
  "test/tools/": 15,
  "test/e2e/": 12,
  "test/interop/": 12,
  "src/cli/main": 12,
  "src/engine/malloc": 12,
  "src/tools/": 10,
  "test/fuzz/": 8,
  "src/kernel/": 5,
  "test/": 3,
  "": 1,
} as const;
/** Where tests wait most of the time, for the kernel and for each other's packets. */
const WAITING = /^(?:test\/inline|test\/tools|src\/tools|src\/kernel)\//;
const CACHE = join(import.meta.dirname, "../node_modules/.cache");
/** What each file took in its last run, in seconds, by name. */
const DURATIONS = join(CACHE, "test-durations.json");

// Every node, worker and test file loads the same sources: compiled once for the run, and kept for the next.
process.env["NODE_COMPILE_CACHE"] ??= join(CACHE, "compile");

const durations = readDurations();
const named = process.argv.slice(2);
const files = inOrder(globSync(named.length > 0 ? named : PATTERNS));
const taken = new Map<string, number>();
/** How many tests each file says that it ran, and of how many the results have come. */
const told = new Map<string, number>();
const received = new Map<string, number>();
const skipped: string[] = [];
let failed = files.length === 0;

const events = run({
  files,
  // Half of the time the tests wait for other programs.
  concurrency: availableParallelism() + 3,
  timeout: FILE_TIMEOUT,
  // A test that failed halfway leaves its servers; the run must not wait for them.
  forceExit: true,
  execArgv: ["--import", join(import.meta.dirname, "whole-output.ts")],
});
events.on("test:fail", (result) => {
  failed = true;
  count(result);
});
events.on("test:pass", (result) => {
  count(result);
  const { name, file, skip } = result;
  if (skip === undefined || skip === false) return;
  const why = typeof skip === "string" ? skip : "no reason given";
  skipped.push(`  ${why}: ${name} (${nameOf(file ?? "")})`);
});
events.on("test:summary", ({ file, duration_ms, counts }) => {
  if (file === undefined) return;
  taken.set(nameOf(file), duration_ms / 1000);
  told.set(nameOf(file), counts.tests);
});
const report = events.compose(spec);
report.pipe(process.stdout);
await once(report, "end");

keepDurations();
const slowest = [...taken].sort(([, a], [, b]) => b - a).slice(0, LISTED);
console.log(
  `\nThe longest files:\n${slowest.map(([file, seconds]) => `  ${seconds.toFixed(1).padStart(5)} s  ${file}`).join("\n")}`,
);

if (files.length === 0) console.log(`No test file matches ${named.join(" ")}.`);
const incomplete = files
  .map((file) => nameOf(resolve(file)))
  .filter((file) => told.get(file) !== (received.get(file) ?? 0));
if (incomplete.length > 0) {
  console.log(
    `\nThe results of these files are incomplete, so a failure may be missing:\n${incomplete.map(lacks).join("\n")}`,
  );
  failed = true;
}
if (skipped.length > 0) {
  console.log(`\nSkipped, and what each needs:\n${skipped.sort().join("\n")}`);
  if (process.env["CLEARLINE_PEERS"] === "required") {
    console.log("CLEARLINE_PEERS=required: a skipped test is a failure.");
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;

/** Not the suites, nor what the runner says of a whole file. */
function count({ entryFile, details }: EventData.TestPass | EventData.TestFail): void {
  if (entryFile === undefined || details.type === "suite") return;
  received.set(nameOf(entryFile), (received.get(nameOf(entryFile)) ?? 0) + 1);
}

function lacks(file: string): string {
  const total = told.get(file);
  const lack = total === undefined ? "it ended before its summary" : `it ran ${total} tests`;
  return `  ${file}: ${lack}, and ${received.get(file) ?? 0} results came`;
}

/**
 * The longest first: a long file that starts last would run alone while the other cores idle. Those that wait are spread over the whole
 * time, or the cores would idle while several of them run at once.
 */
function inOrder(all: readonly string[]): string[] {
  const { waiting = [], working = [] } = Object.groupBy(all, (file) => (WAITING.test(file) ? "waiting" : "working"));
  return [...evenly(waiting), ...evenly(working)].sort(([a], [b]) => a - b).map(([, file]) => file);
}

/** The files, longest first, each with the part of their whole time that has passed when it begins. */
function evenly(group: readonly string[]): [at: number, file: string][] {
  const sorted = group.toSorted((a, b) => expected(b) - expected(a) || a.localeCompare(b));
  const whole = sorted.reduce((sum, file) => sum + expected(file), 0);
  let passed = 0;
  return sorted.map((file) => {
    const at = passed / whole;
    passed += expected(file);
    return [at, file];
  });
}

function expected(file: string): number {
  const [, guess = 1] = Object.entries(GUESSES).find(([start]) => file.startsWith(start)) ?? [];
  return durations.get(file) ?? guess;
}

function readDurations(): Map<string, number> {
  try {
    return new Map(Object.entries(JSON.parse(readFileSync(DURATIONS, "utf8")) as Record<string, number>));
  } catch {
    // There has been no run yet.
    return new Map();
  }
}

function keepDurations(): void {
  mkdirSync(dirname(DURATIONS), { recursive: true });
  writeFileSync(DURATIONS, JSON.stringify(Object.fromEntries([...durations, ...taken])));
}

function nameOf(file: string): string {
  return relative(process.cwd(), file);
}
