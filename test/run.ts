/** Runs the tests as `npm test` does: `node test/run.ts [files…]`. Ends with the runner's counts and what was skipped. */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { run } from "node:test";
import { spec } from "node:test/reporters";

/** A file that hangs is a failure, not a wait. */
const FILE_TIMEOUT = 10 * 60_000;

const files = process.argv.slice(2);
const skipped: string[] = [];
let failed = false;

const events = run({
  globPatterns: files.length > 0 ? files : ["src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.ts"],
  concurrency: Math.min(4, availableParallelism()),
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
  skipped.push(`  ${why}: ${name} (${file?.replace(`${process.cwd()}/`, "")})`);
});
const report = events.compose(spec);
report.pipe(process.stdout);
await once(report, "end");

if (skipped.length > 0) {
  console.log(`\nSkipped, and what each needs:\n${skipped.sort().join("\n")}`);
  if (process.env["CLEARLINE_PEERS"] === "required") {
    console.log("CLEARLINE_PEERS=required: a skipped test is a failure.");
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
