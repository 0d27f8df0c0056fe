import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { run, scratch } from "./processes.ts";

const RUNNER = join(import.meta.dirname, "run.ts");

/** Runs test files of these names and sources as `npm test` does. */
function runFiles(files: Readonly<Record<string, string>>) {
  const cwd = scratch();
  for (const [name, source] of Object.entries(files))
    writeFileSync(join(cwd, name), `import { test } from "node:test";\n${source}\n`);
  // With NODE_TEST_CONTEXT a runner takes itself for a test file.
  return run(process.execPath, [RUNNER, "*.test.mjs"], { cwd, env: { ...process.env, NODE_TEST_CONTEXT: undefined } });
}

test("The runner receives the results of every test, also where a file writes faster than it reads", async () => {
  const source = `for (let at = 0; at < 600; at++) test(\`\${at} \${"x".repeat(500)}\`, () => {});`;
  const { code, stdout } = await runFiles({ "a.test.mjs": source, "b.test.mjs": source, "c.test.mjs": source });
  assert.deepEqual([code, / tests (\d+)$/m.exec(stdout)?.[1]], [0, "1800"]);
});

test("A file that ends before its last test is a failure, whatever its exit code", async () => {
  const { code, stdout } = await runFiles({
    "early.test.mjs": `test("passes", () => {}); test("leaves", () => process.exit(0)); test("never runs", () => {});`,
    "whole.test.mjs": `test("passes", () => {});`,
  });
  assert.match(stdout, /incomplete.*\n {2}early\.test\.mjs: it ended before its summary/);
  assert.doesNotMatch(stdout, /whole\.test\.mjs: it/);
  assert.equal(code, 1);
});
