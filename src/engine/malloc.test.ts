import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { run } from "../../test/processes.ts";

/**
 * The tests that break connections in every way, again with glibc's checks of its heap: memory that is freed twice or written
 * beyond its end aborts the process, and memory that was freed is filled with rubbish.
 */

const FILES = ["fuzz", "ownership", "layers", "relay"].map(
  (name) => new URL(`${name}.test.ts`, import.meta.url).pathname,
);
const LIBRARY = "libc_malloc_debug.so.0";
const FOLDERS = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"];
const skip = FOLDERS.some((folder) => existsSync(`${folder}/${LIBRARY}`))
  ? false
  : `${LIBRARY} is not installed: it comes with glibc`;

test("The heap is sound after damaged bytes, broken connections and closes in callbacks", { skip }, async () => {
  const env = {
    ...process.env,
    NODE_TEST_CONTEXT: undefined,
    LD_PRELOAD: LIBRARY,
    GLIBC_TUNABLES: "glibc.malloc.check=3:glibc.malloc.perturb=85",
  };
  const { code, stdout, stderr } = await run(process.execPath, ["--test", ...FILES], { env, within: 300_000 });
  assert.equal(code, 0, `${stdout}\n${stderr}`.slice(-10_000));
});
