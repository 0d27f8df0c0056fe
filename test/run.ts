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
/** The folders with the longest files, where no earlier run says how long each takes. */
const LONGEST = ["test/tools/", "test/inline/", "test/interop/", "test/e2e/", "src/tools/"];
const CACHE = join(import.meta.dirname, "../node_modules/.cache");
/** What each file took in its last run, in seconds, by name. */
const DURATIONS = join(CACHE, "test-durations.json");

// Every node, worker and test file loads the same sources: compiled once for the run, and kept for the next.
process.env["NODE_COMPILE_CACHE"] ??= join(CACHE, "compile");

const durations = readDurations();
const named = process.argv.slice(2);
const files = globSync(named.length > 0 ? named : PATTERNS).sort(longestFirst);
const taken = new Map<string, number>();
/** How many tests each file says that it ran, and of how many the results have come. */
const told = new Map<string, number>();
const received = new Map<string, number>();
const skipped: string[] = [];
let failed = files.length === 0;

const events = run({
  files,
  // Half of the time the tests wait for other programs.
  concurrency: availableParallelism() + 2,
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

/** A long file that starts last would run alone while the other cores idle. */
function longestFirst(a: string, b: string): number {
  return (durations.get(b) ?? guess(b)) - (durations.get(a) ?? guess(a)) || a.localeCompare(b);
}

/** Seconds, only good for the order: between the short files and those that are known to be long. */
function guess(file: string): number {
  const place = LONGEST.findIndex((folder) => file.startsWith(folder));
  return place < 0 ? 1 : 10 + LONGEST.length - place;
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
