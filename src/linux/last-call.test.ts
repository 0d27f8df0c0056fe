import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { scratch } from "../../test/processes.ts";
import { readLastCall } from "./last-call.ts";

const MODULE = JSON.stringify(new URL("last-call.ts", import.meta.url).href);

/** Runs a process that keeps its record in the file and ends as `body` says. */
async function run(file: string, body: string): Promise<{ readonly pid: number; readonly signal: string | null }> {
  const source = `import { CALL, called, calling, keepLastCall } from ${MODULE};
    keepLastCall(${JSON.stringify(file)}); ${body}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [, signal] = await once(child, "exit");
  return { pid: child.pid!, signal };
}

test("What a process called last can be read after a crash", async () => {
  const file = join(scratch(), "call");
  for (const [body, told] of [
    ["calling(CALL.SSL_read, 31);", "SSL_read on descriptor 31, which had not returned"],
    ["calling(CALL.SSL_write, 7); called();", "SSL_write on descriptor 7, which had returned"],
    ["calling(CALL.X509_verify_cert, -1);", "X509_verify_cert, which had not returned"],
    ["", "nothing"],
  ] as const) {
    const { pid, signal } = await run(
      file,
      `${body} process.kill(process.pid, "SIGSEGV"); setInterval(() => {}, 1000);`,
    );
    assert.equal(signal, "SIGSEGV");
    assert.equal(readLastCall(file, pid), told);
    assert.equal(readLastCall(file, pid + 1), undefined, "another process's record");
  }
  assert.equal(readLastCall(join(scratch(), "none"), 1), undefined);
});
