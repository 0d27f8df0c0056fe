import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { INHERITED_RECORD, makeCallRecord, readLastCall } from "./last-call.ts";

const MODULE = JSON.stringify(new URL("last-call.ts", import.meta.url).href);

/** Runs a process that keeps its record there and ends as `body` says. */
async function run(record: number, body: string): Promise<{ readonly pid: number; readonly signal: string | null }> {
  const source = `import { CALL, called, calling, keepLastCall } from ${MODULE};
    keepLastCall(${INHERITED_RECORD}); ${body}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    stdio: ["ignore", "ignore", "inherit", "ignore", record],
  });
  const [, signal] = await once(child, "exit");
  return { pid: child.pid!, signal };
}

test("What a process called last can be read after a crash", async () => {
  for (const [body, told] of [
    ["calling(CALL.SSL_read, 31);", "SSL_read on descriptor 31, which had not returned"],
    ["calling(CALL.SSL_write, 7); called();", "SSL_write on descriptor 7, which had returned"],
    ["calling(CALL.X509_verify_cert, -1);", "X509_verify_cert, which had not returned"],
    ["", "nothing"],
  ] as const) {
    const record = makeCallRecord();
    const { pid, signal } = await run(
      record,
      `${body} process.kill(process.pid, "SIGSEGV"); setInterval(() => {}, 1000);`,
    );
    assert.equal(signal, "SIGSEGV");
    assert.equal(readLastCall(record, pid), told);
    assert.equal(readLastCall(record, pid + 1), undefined, "another process's record");
  }
});
