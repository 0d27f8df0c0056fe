import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { scratch, until } from "../../test/processes.ts";
import { AuditFailure, openAudit } from "./audit.ts";
import { OWNER } from "./caller.ts";
import { Disk } from "./disk.ts";
import { openHistory } from "./history.ts";
import { QUIET, testSession } from "./test-operations.ts";

test("A disk that hangs stops the history and refuses changes, keeps nobody waiting, and loses nothing once it answers", async () => {
  await using stack = new AsyncDisposableStack();
  const disk = stack.adopt(new Disk(300), (one) => one.close());
  const folder = scratch();
  const said: string[] = [];
  const log = { ...QUIET, info: (text: string) => said.push(text), warn: (text: string) => said.push(text) };
  const files = { history: join(folder, "history.db"), audit: join(folder, "audit.db") };
  const history = openHistory({ file: files.history, keepAge: 1e15, keepSessions: 1e6, disk, log });
  const audit = openAudit({ file: files.audit, keepAge: 1e15, keepEntries: 100, disk, log: QUIET });
  const ended = (id: string) => ({ ...testSession(id, 1000), end: 1010 });
  history.record([ended("before")]);
  await history.flush();
  // The thread may have taken long to begin.
  said.length = 0;
  // The thread waits up to 2 s for whoever holds the database.
  const lock = new DatabaseSync(files.history);
  lock.exec("BEGIN IMMEDIATE");
  history.record([ended("meanwhile")]);
  const written = history.flush();
  const step = { caller: OWNER, address: null, action: "reload", subject: null } as const;
  // The thread has the write by now.
  await setImmediate();
  await assert.rejects(audit.begin(step), AuditFailure);
  await until("a history that has stopped", () => history.info().state === "stopped");
  assert.equal(history.info().reason, "the disk has not answered for 0.3 s");
  assert.equal(await history.find("before"), undefined);
  assert.equal((await history.find("meanwhile"))?.id, "meanwhile");
  assert.deepEqual(
    (await Array.fromAsync(history.pages({}, 10))).flat().map(({ id }) => id),
    ["meanwhile"],
  );
  await assert.rejects(audit.begin(step), /audit\.db cannot be used: the disk has not answered for 0\.3 s/);
  lock.exec("ROLLBACK");
  lock.close();
  await written;
  assert.equal(history.info().state, "running");
  assert.equal((await history.find("before"))?.id, "before");
  assert.deepEqual((await Array.fromAsync(history.pages({}, 10))).flat().length, 2);
  const [entry, ...others] = await until("the end of what was refused", async () => {
    const entries = await audit.search({}, 10);
    return entries[0]?.outcome === "failed" && entries;
  });
  assert.deepEqual([entry?.detail, others], ["It was refused: the disk took too long to record it", []]);
  assert.match(said[0]!, /^Cannot use the history .*: the disk has not answered.* The history stops; sessions go on$/);
  assert.deepEqual(said.slice(1), ["The history goes on: the disk answers again"]);
  await history.close();
  await audit.close();
});

test("A node that stops while its disk hangs does not wait, and what it could not say in time is written all the same", async (t) => {
  await using stack = new AsyncDisposableStack();
  const disk = stack.adopt(new Disk(50), (one) => one.close());
  const file = join(scratch(), "history.db");
  const options = { keepAge: 1e15, keepSessions: 1e6, log: QUIET };
  const history = openHistory({ file, disk, ...options });
  const audit = openAudit({ file: ":memory:", disk, keepAge: 1e15, keepEntries: 100, log: QUIET });
  await history.flush();
  const lock = new DatabaseSync(file);
  lock.exec("BEGIN IMMEDIATE");
  history.record([{ ...testSession("last", 1000), end: 1010 }]);
  const written = history.flush();
  await until("a history that has stopped", () => history.info().state === "stopped");
  t.mock.timers.enable({ apis: ["setTimeout"] });
  await Promise.all([history.close(), audit.close()]);
  t.mock.timers.reset();
  lock.exec("ROLLBACK");
  lock.close();
  await written;
  const again = openHistory({ file, disk, ...options });
  assert.equal((await again.find("last"))?.id, "last");
  await again.close();
});

test("Of a slow disk no more is asked than it may ever do", async () => {
  await using stack = new AsyncDisposableStack();
  const disk = stack.adopt(new Disk(), (one) => one.close());
  const history = openHistory({ file: ":memory:", keepAge: 1e15, keepSessions: 1e6, disk, log: QUIET });
  const audit = openAudit({ file: ":memory:", disk, keepAge: 1e15, keepEntries: 100, log: QUIET });
  const finds = Array.from({ length: 1_000 }, () => history.find("none"));
  await assert.rejects(audit.search({}, 1), /cannot be used: 1000 others wait for the disk/);
  await Promise.all(finds);
  assert.deepEqual(await audit.search({}, 1), []);
  await Promise.all([history.close(), audit.close()]);
});
