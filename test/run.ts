/** Runs the tests as `npm test` does: `node test/run.ts [files…]`. Ends with the runner's counts and what was skipped. */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { run } from "node:test";
import { spec } from "node:test/reporters";

/** A file that hangs is a failure, not a wait. */
const FILE_TIMEOUT = 10 * 60_000;
/** How many of the longest files are listed. */
const LISTED = 12;

// Every node, worker and test file loads the same sources: compiled once for the run, and kept for the next.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "../node_modules/.cache/compile");

const files = process.argv.slice(2);
const durations: { readonly file: string; readonly seconds: number }[] = [];
const skipped: string[] = [];
let failed = false;

const events = run({
  globPatterns: files.length > 0 ? files : ["src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.ts"],
  // Half of the time the tests wait for other programs.
  concurrency: availableParallelism() + 1,
  timeout: FILE_TIMEOUT,
  // A test that failed halfway leaves its servers; the run must not wait for them.
  forceExit: true,
});
events.on("test:fail", () => {
  failed = true;
});
events.on("test:pass", ({ name, file, skip }) => {
  if (skip === undefined || skip === false) return;
  const why = typeof skip === "string" ? skip : "no reason given";
  skipped.push(`  ${why}: ${name} (${nameOf(file ?? "")})`);
});
events.on("test:summary", ({ file, duration_ms }) => {
  if (file !== undefined) durations.push({ file: nameOf(file), seconds: duration_ms / 1000 });
});
const report = events.compose(spec);
report.pipe(process.stdout);
await once(report, "end");

const slowest = durations.sort((a, b) => b.seconds - a.seconds).slice(0, LISTED);
console.log(
  `\nThe longest files:\n${slowest.map(({ file, seconds }) => `  ${seconds.toFixed(1).padStart(5)} s  ${file}`).join("\n")}`,
);

if (skipped.length > 0) {
  console.log(`\nSkipped, and what each needs:\n${skipped.sort().join("\n")}`);
  if (process.env["CLEARLINE_PEERS"] === "required") {
    console.log("CLEARLINE_PEERS=required: a skipped test is a failure.");
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;

function nameOf(file: string): string {
  return relative(process.cwd(), file);
}
