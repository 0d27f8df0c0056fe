import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { type AuditedStep, AuditFailure, openAudit } from "./audit.ts";
import { OWNER } from "./caller.ts";
import { Disk } from "./disk.ts";

const root = mkdtempSync(join(tmpdir(), "clearline-audit-"));
after(() => rmSync(root, { recursive: true }));

const STEP: AuditedStep = { caller: OWNER, address: "192.0.2.7", action: "ca renew", subject: "primary" };
const disk = new Disk();
after(() => disk.close());
let files = 0;

function open(file = join(root, `${++files}`, "audit.db"), keepEntries = 1000) {
  const said: object[] = [];
  const log = { info: (fields: object) => said.push(fields), error: (fields: object) => said.push(fields) };
  return { file, said, audit: openAudit({ file, disk, keepAge: 1e15, keepEntries, log }) };
}

test("An action is on record before it is done, with its end after it, and in the log", async () => {
  const { audit, said } = open();
  const within = await audit.during(STEP, async () => (await audit.search({}, 10))[0]);
  assert.deepEqual([within?.outcome, within?.who, within?.address], ["begun", "owner", "192.0.2.7"]);
  await assert.rejects(audit.during({ ...STEP, subject: "secondary" }, () => Promise.reject(new Error("No space"))));
  audit.note({ ...STEP, action: "cache flush", subject: null }, "refused", "The role viewer does not allow it");
  const found = (await audit.search({}, 10)).map(({ action, subject, outcome, detail }) => [
    action,
    subject,
    outcome,
    detail,
  ]);
  assert.deepEqual(found, [
    ["cache flush", null, "refused", "The role viewer does not allow it"],
    ["ca renew", "secondary", "failed", "No space"],
    ["ca renew", "primary", "done", null],
  ]);
  assert.equal(said.length, 3);
  await audit.close();
});

test("Entries are found by caller, action, time and number, also after a restart", async () => {
  const { audit, file } = open();
  audit.note(STEP, "done");
  audit.note({ ...STEP, action: "cache flush", caller: { name: "night%", role: "operator" } }, "done");
  await audit.close();
  const again = open(file).audit;
  const count = (query: Parameters<typeof again.search>[0]) => again.search(query, 10).then(({ length }) => length);
  assert.deepEqual([await count({}), await count({ who: "night%" }), await count({ who: "%" })], [2, 1, 0]);
  assert.deepEqual(
    [await count({ action: "ca" }), await count({ action: "ca renew" }), await count({ action: "c" })],
    [1, 1, 0],
  );
  assert.deepEqual([await count({ since: Date.now() + 1000 }), await count({ before: 2 })], [0, 1]);
  await again.close();
});

test("No entry can be changed, and only the oldest can go", async () => {
  const { audit, file } = open();
  for (let index = 0; index < 3; index++) audit.note(STEP, "done");
  assert.equal((await audit.search({}, 10)).length, 3);
  const database = new DatabaseSync(file);
  for (const mistake of [
    "UPDATE entries SET who = 'me'",
    "UPDATE outcomes SET outcome = 'done'",
    "DELETE FROM entries WHERE number = 2",
    "DELETE FROM outcomes WHERE entry = 3",
    "INSERT OR REPLACE INTO outcomes VALUES (3, 0, 'failed', NULL)",
    "INSERT OR REPLACE INTO entries SELECT number, time, 'me', role, address, action, subject FROM entries",
  ])
    assert.throws(() => database.exec(mistake), mistake);
  database.close();
  await audit.close();
});

test("The oldest entries go when there are too many", async () => {
  const { audit } = open(undefined, 20);
  for (let index = 0; index < 50; index++) audit.note(STEP, "done");
  const numbers = (await audit.search({}, 1000)).map(({ number }) => number);
  assert.deepEqual([numbers.length, numbers[0], numbers.at(-1)], [20, 50, 31]);
  await audit.close();
});

test("What cannot be recorded is not done, and can be once the database can be written again", async () => {
  const { audit, file } = open();
  audit.note(STEP, "done");
  assert.equal((await audit.search({}, 10)).length, 1);
  const lock = new DatabaseSync(file);
  lock.exec("BEGIN IMMEDIATE");
  let done = false;
  const work = async () => {
    done = true;
  };
  await assert.rejects(audit.during(STEP, work), AuditFailure);
  assert.equal(done, false);
  lock.exec("ROLLBACK");
  lock.close();
  await audit.during(STEP, work);
  assert.deepEqual([done, (await audit.search({}, 10)).length], [true, 2]);
  await audit.close();
});

test("A damaged file refuses all, is left as it is, and a log that was moved away is begun anew", async () => {
  const { audit, file } = open();
  audit.note(STEP, "done");
  await audit.close();
  for (const name of readdirSync(join(file, ".."))) writeFileSync(join(file, "..", name), "not a database".repeat(500));
  const { audit: again, said } = open(file);
  await assert.rejects(
    again.begin(STEP),
    /audit\.db cannot be used: file is not a database\. Restore it, or move it away: then a new one begins/,
  );
  assert.equal(said.length, 1, "the start tells of it");
  renameSync(file, `${file}.aside`);
  await again.begin(STEP);
  renameSync(file, `${file}.aside`);
  assert.equal(await again.begin(STEP), 1);
  await again.close();
});

test("A full disk refuses what would be recorded, and only the node's user can read the file", async () => {
  const folder = join(root, "full");
  // In namespaces of its own: a file system of 64 kB, which the kernel removes with the process.
  const program = `
    import { statSync, writeFileSync } from "node:fs";
    const { openAudit } = await import(${JSON.stringify(join(import.meta.dirname, "audit.ts"))});
    const { Disk } = await import(${JSON.stringify(join(import.meta.dirname, "disk.ts"))});
    const disk = new Disk();
    const audit = openAudit({ file: "audit.db", disk, keepAge: 1e15, keepEntries: 1e5, log: { info() {}, error() {} } });
    const step = { caller: { name: "owner", role: "administrator" }, address: null, action: "reload", subject: null };
    let refused;
    for (let index = 0; index < 1000 && !refused; index++) {
      try { audit.end(await audit.begin(step), "done"); } catch (error) { refused = error.message; }
    }
    await disk.close();
    console.log(JSON.stringify({ refused, mode: statSync("audit.db").mode & 0o777 }));`;
  const script = `mkdir -p ${folder} && mount -t tmpfs -o size=64k none ${folder} && cd ${folder} && "$0" --input-type=module -e "$1"`;
  const ended = spawnSync("unshare", ["-rm", "sh", "-c", script, process.execPath, program], { encoding: "utf8" });
  const { refused, mode } = JSON.parse(ended.stdout || `"${ended.stderr}"`);
  assert.match(refused, /database or disk is full/);
  assert.equal(mode, 0o600);
});
