import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import fc from "fast-check";
import type { Session } from "../sessions/record.ts";
import { compareSessions, compileQuery, type SessionQuery } from "../sessions/search.ts";
import { Disk } from "./disk.ts";
import { type History, type HistoryOptions, openHistory } from "./history.ts";
import { MIGRATIONS, rowOf } from "./history-schema.ts";
import { openStore } from "./history-store.ts";
import { QUIET, testSession } from "./test-operations.ts";

const root = mkdtempSync(join(tmpdir(), "clearline-history-"));
after(() => rmSync(root, { recursive: true }));

const disk = new Disk();
after(() => disk.close());

let folders = 0;
function optionsIn(
  folder = `${++folders}`,
  more: Partial<Omit<HistoryOptions, "disk">> = {},
): HistoryOptions & { said: string[] } {
  const said: string[] = [];
  const log = { ...QUIET, warn: (text: string) => said.push(text), info: (text: string) => said.push(text) };
  const file = join(root, folder, "history.db");
  return { file, disk, keepAge: 1e15, keepSessions: 1e6, log, said, ...more };
}

function ended(id: string, start: number, more: Partial<Session> = {}): Session {
  return { ...testSession(id, start), end: start + 10, closeReason: "The client closed the connection", ...more };
}

const BYTES = { received: fc.constant(0), sent: fc.constant(0) };
const CERTIFICATE = { issuer: "CN=R3", sha256: "", notBefore: 0, notAfter: 0, faults: [] };

async function search(history: History, query: SessionQuery, limit: number): Promise<readonly Session[]> {
  return (await Array.fromAsync(history.pages(query, limit))).flat().slice(0, limit);
}

function ids(sessions: readonly Session[]): string {
  return sessions.map(({ id }) => id).join(" ");
}

test("Recorded sessions are found after a restart, the newest first", async () => {
  const options = optionsIn();
  const first = openHistory(options);
  first.record([ended("a", 1000, { sni: "www.example.com" }), ended("b", 2000)]);
  await first.close();
  const second = openHistory(options);
  assert.equal(ids(await search(second, {}, 10)), "b a");
  assert.deepEqual(await second.find("a"), ended("a", 1000, { sni: "www.example.com" }));
  assert.equal(second.info().sessions, 2);
  await second.close();
});

test("A search page by page finds what a search at once does, in its order, and what the disk does not take too", async () => {
  const options = optionsIn();
  const history = openHistory(options);
  const sessions = Array.from({ length: 130 }, (_, index) =>
    ended(`s${index}`, 1000 + ((index * 7) % 130), {
      verdict: index % 3 === 0 ? "drop" : "decrypt",
      clientLeg: { version: index % 2 ? "TLSv1.3" : "TLSv1.2", received: 0, sent: 0 },
    }),
  );
  history.record(sessions.slice(0, 120));
  await history.flush();
  // Another program holds the database: these cannot be written now.
  const lock = new DatabaseSync(options.file);
  lock.exec("BEGIN IMMEDIATE");
  history.record(sessions.slice(120));
  for (const [query, limit] of [
    [{}, 1000],
    [{}, 77],
    [{ verdict: "drop" }, 1000],
    // Their records are read to know which match, a thousand at a time.
    [{ version: "TLSv1.3" }, 1000],
    [{ version: "TLSv1.3", since: 1010, until: 1100 }, 50],
  ] as const) {
    const pages = await Array.fromAsync(history.pages(query, limit));
    assert.ok(pages.every(({ length }) => length <= 100));
    const found = pages.flat().slice(0, limit);
    assert.equal(ids(found), ids(sessions.filter(compileQuery(query)).sort(compareSessions).slice(0, limit)));
  }
  lock.exec("ROLLBACK");
  lock.close();
  await history.close();
});

test("Sessions since a time are given a few at a time, each once, also those that are not written", async () => {
  const history = openHistory(optionsIn());
  history.record(Array.from({ length: 250 }, (_, index) => ended(`s${index}`, 1000 + (index % 125))));
  await history.flush();
  history.record([ended("s0", 1000, { sni: "later.example" }), ended("new", 1100), ended("early", 900)]);
  const parts = await Array.fromAsync(history.since(1050));
  assert.ok(parts.every(({ length }) => length <= 100));
  const found = parts.flat().map(({ id }) => id);
  assert.equal(found.length, 151);
  assert.deepEqual([new Set(found).size, found.includes("new"), found.includes("early")], [151, true, false]);
  assert.equal((await Array.fromAsync(history.since(0))).flat().filter(({ id }) => id === "s0").length, 1);
  await history.close();
});

test("Records of earlier versions, with every name of a certificate, are shown within the bound", async () => {
  const names = Array.from({ length: 10_500 }, (_, index) => `host-${index}.example`);
  const store = openStore(join(root, "early.db"), false);
  store.write([rowOf(ended("old", 1000, { certificate: { ...CERTIFICATE, subject: "CN=a", names } }))]);
  const [found] = store.records(store.numbers({}, 10));
  assert.deepEqual([found?.certificate?.names.length, found?.certificate?.nameCount], [64, 10_500]);
  store.close();
});

test("A record of an earlier version has what has come since, with its default", async () => {
  const store = openStore(join(root, "earlier.db"), false);
  const { page: _, clientLeft: __, ja4: ___, ...old } = ended("old", 1000);
  store.write([rowOf(old as Session)]);
  const [found] = store.records(store.numbers({}, 10));
  assert.deepEqual([found?.page, found?.clientLeft, found?.ja4, found?.id], [null, null, null, "old"]);
  store.close();
});

test("A history of an earlier version gets the outcomes of its sessions, and they are found", async () => {
  const options = optionsIn();
  const refused = { verdict: "decrypt", phase: "sni", server: { address: "192.0.2.1", port: 443 } } as const;
  const { outcome: _, cause: __, blame: ___, ...old } = ended("old", 1000, { ...refused, state: "EST:EST:INIT:INIT" });
  const presented = { authority: "primary", serial: "1", sha256: "aa", keyType: "ecdsa" };
  const clientLeg = { received: 0, sent: 0, alertReceived: "unknown_ca" };
  const record = { ...old, presented, clientLeg, serverLeg: { version: "TLSv1.3", received: 0, sent: 0 } };
  mkdirSync(join(options.file, ".."));
  const database = new DatabaseSync(options.file);
  for (const step of MIGRATIONS.slice(0, 3)) database.exec(step as string);
  database.exec("PRAGMA user_version = 3");
  const insert = "INSERT INTO sessions (id, start, ended, listener, client, state, verdict, record)";
  const { state, verdict } = record;
  database
    .prepare(`${insert} VALUES ('old', 1000, 1010, 'a', 'b', ?, ?, ?)`)
    .run(state, verdict, JSON.stringify(record));
  database.close();
  const history = openHistory(options);
  const [found] = await search(history, { outcome: ["clientRefusedCertificate"], server: "192.0.2.0/24" }, 10);
  assert.deepEqual([found?.id, found?.cause, found?.blame], ["old", "unknown_ca", "client"]);
  await history.close();
});

test("Only the node's user can read the history's files", async () => {
  const options = optionsIn();
  const history = openHistory(options);
  history.record([ended("a", 1000)]);
  await history.flush();
  for (const name of readdirSync(join(options.file, ".."))) {
    assert.equal(statSync(join(options.file, "..", name)).mode & 0o077, 0, name);
  }
  await history.close();
});

test("A search finds records that are not written yet", async () => {
  const history = openHistory(optionsIn());
  history.record([ended("a", 1000, { sni: "www.example.com" })]);
  assert.equal(ids(await search(history, { host: "www.example.com" }, 10)), "a");
  await history.close();
});

test("A later record of a session replaces an earlier one, and live sessions are not listed as closed", async () => {
  const history = openHistory(optionsIn());
  history.record([testSession("a", 1000)]);
  await history.flush();
  assert.equal(ids(await search(history, {}, 10)), "");
  history.record([ended("a", 1000, { sni: "x.example" })]);
  assert.equal(ids(await search(history, { host: "x.example" }, 10)), "a");
  await history.flush();
  assert.equal(history.info().sessions, 1);
  await history.close();
});

test("Sessions that lived when the node died are closed by the next start", async () => {
  const options = optionsIn();
  const first = openHistory(options);
  first.record([testSession("a", 1000, { sni: "x.example" })]);
  await first.close();
  const second = openHistory(options);
  const [session] = await search(second, { host: "x.example" }, 10);
  assert.deepEqual(
    [session?.end, session?.closeReason],
    [1000, "The node ended before this session's end was recorded"],
  );
  await second.close();
});

test("A search finds in the history what it would find in the live table", async () => {
  const name = fc.constantFrom("a.example", "www.a.example", "*.a.example", "mail.b.example", "a_b.example", "a%b");
  const verdict = fc.constantFrom("decrypt" as const, "bypass" as const, null);
  const client = fc.record({
    address: fc.constantFrom("10.9.0.4", "10.9.1.4", "::ffff:10.9.0.4", "2001:db8::1", "fe80::1%eth0"),
    port: fc.constant(50_000),
  });
  const certificate = fc.record({
    subject: fc.constantFrom("C=US, O=Example Inc, CN=www.a.example", "O=100% Bank, CN=*.b.example", ""),
    faults: fc.constantFrom(
      [],
      [
        { fault: "invalid", code: "X" },
        { fault: "expired", code: "Y" },
      ],
    ),
    names: fc.array(name, { maxLength: 2 }),
  });
  const record = fc.record({
    ...{ outcome: fc.constantFrom("decrypted", "serverFailed"), cause: fc.constantFrom(null, "timeout", "reset") },
    ...{ blame: fc.constantFrom(null, "server"), rule: fc.constantFrom(null, "default") },
    reason: fc.constantFrom(null, "The server is 100% sure"),
    server: fc.option(client),
    clientLeg: fc.record({ version: fc.constantFrom("TLSv1.2", "TLSv1.3"), ...BYTES }),
    sni: fc.option(name),
    connectHost: fc.option(name),
    verdict,
    client,
    certificate: fc.option(certificate.map((given) => ({ ...CERTIFICATE, ...given }))),
  });
  const query = fc.record(
    {
      host: fc.constantFrom(
        "www.a.example",
        "*.a.example",
        "*",
        "MAIL*",
        "a.example",
        "a_*",
        "a%*",
        "*[a]*",
        "?.example",
      ),
      sni: fc.constantFrom("www.a.example", "*.A.example", "a.example.", "*"),
      subject: fc.constantFrom("o=example", "O=*Bank", "100%", "www.a.example", "nobody", "_"),
      verdict: fc.constantFrom("decrypt", "none"),
      state: fc.constantFrom("EST", "EST:INIT", "EST:EST"),
      ...{ outcome: fc.constant(["serverFailed"]), cause: fc.constantFrom(["timeout"], ["reset", "timeout"]) },
      ...{ blame: fc.constant("server"), rule: fc.constantFrom("default", "other"), fault: fc.constant("expired") },
      ...{ version: fc.constantFrom("TLSv1.2", "SSLv3"), reason: fc.constantFrom("100%", "SERVER*sure", "_") },
      ...{ since: fc.constantFrom(0, 1002), until: fc.constantFrom(1005, 1001) },
      after: fc.constant({ start: 1004, id: "s4" }),
      server: fc.constantFrom("10.9.0.4", "10.9.0.0/24", "::/0"),
      client: fc.constantFrom("10.9.0.4", "10.9.0.0/24", "10.0.0.0/8", "2001:DB8::/32", "::/0", "2001:db8:0::1"),
    },
    { requiredKeys: [] },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(record, { maxLength: 8 }), query, async (records, wanted) => {
      const history = openHistory(optionsIn("", { file: ":memory:" }));
      const sessions = records.map((news, index) => ended(`s${index}`, 1000 + index, news));
      history.record(sessions);
      await history.flush();
      const expected = sessions.filter(compileQuery(wanted as object)).reverse();
      assert.equal(ids(await search(history, wanted as object, 100)), ids(expected));
      await history.close();
    }),
    { numRuns: 200 },
  );
});

test("The oldest are forgotten above the number to keep, with their hosts", async () => {
  const options = optionsIn(undefined, { keepSessions: 2 });
  const history = openHistory(options);
  history.record(["a", "b", "c", "d"].map((id, i) => ended(id, 1000 + i, { sni: `${id}.example` })));
  await history.flush();
  assert.equal(ids(await search(history, {}, 10)), "d c");
  assert.equal(history.info().sessions, 2);
  await history.close();
  const database = new DatabaseSync(options.file);
  assert.deepEqual(
    database
      .prepare("SELECT host FROM hosts ORDER BY host")
      .all()
      .map((row) => row["host"]),
    ["c.example", "d.example"],
  );
  database.close();
});

test("Sessions that ended too long ago are forgotten", async () => {
  const history = openHistory(optionsIn(undefined, { keepAge: 60_000 }));
  history.record([ended("old", Date.now() - 120_000), ended("new", Date.now() - 1000)]);
  await history.flush();
  assert.equal(ids(await search(history, {}, 10)), "new");
  await history.close();
});

test("A machine's clock that is 40 days ahead for a while removes nothing, and one that stays there little at once", async (t) => {
  const DAY = 86_400_000;
  const now = Date.now();
  t.mock.timers.enable({ apis: ["Date"], now });
  const history = openHistory(optionsIn(undefined, { keepAge: 30 * DAY }));
  t.after(() => history.close());
  history.record(Array.from({ length: 600 }, (_, at) => ended(`s${at}`, now - 1_000 * at)));
  await history.flush();
  t.mock.timers.setTime(now + 40 * DAY);
  for (let times = 0; times < 20; times += 1) {
    history.record([ended(`ahead${times}`, now + 40 * DAY)]);
    await history.flush();
  }
  assert.equal(history.info().sessions, 620);
  t.mock.timers.setTime(now);
  history.record([ended("after", now)]);
  await history.flush();
  assert.equal(history.info().sessions, 621);
});

test("A start after 40 days without a node removes the old sessions little by little", async (t) => {
  const DAY = 86_400_000;
  const now = Date.now();
  const options = optionsIn(undefined, { keepAge: 30 * DAY });
  t.mock.timers.enable({ apis: ["Date"], now: now - 40 * DAY });
  const before = openHistory(options);
  before.record(Array.from({ length: 600 }, (_, at) => ended(`s${at}`, now - 40 * DAY)));
  await before.close();
  t.mock.timers.setTime(now);
  const after = openHistory(options);
  t.after(() => after.close());
  await after.flush();
  assert.equal(after.info().sessions, 600);
});

test("A host stays in the index as long as one of its sessions is in the history", async () => {
  const history = openHistory(optionsIn(undefined, { keepSessions: 1 }));
  history.record([ended("a", 1000, { sni: "x.example" }), ended("b", 2000, { sni: "x.example" })]);
  await history.flush();
  assert.equal(ids(await search(history, { host: "x.example" }, 10)), "b");
  await history.close();
});

test("A file that is not a database is moved aside, the log says so, and a new history begins", async () => {
  const options = optionsIn();
  mkdirSync(join(options.file, ".."));
  writeFileSync(options.file, "This is no database at all. ".repeat(1000));
  const history = openHistory(options);
  history.record([ended("a", 1000)]);
  assert.equal(ids(await search(history, {}, 10)), "a");
  assert.equal(history.info().state, "running");
  await history.close();
  assert.match(options.said.join(), /moved aside/);
  const aside = readdirSync(join(options.file, "..")).find((name) => name.includes("unusable"));
  assert.match(readFileSync(join(options.file, "..", aside!), "utf8"), /^This is no database/);
});

test("A database that is damaged while the node runs is replaced, and no search throws", async () => {
  const options = optionsIn();
  const history = openHistory(options);
  history.record(Array.from({ length: 500 }, (_, i) => ended(`s${i}`, i, { sni: `h${i}.example` })));
  await history.close();
  const bytes = readFileSync(options.file);
  writeFileSync(options.file, bytes.fill(0x5a, 4096, bytes.length));
  const again = openHistory(options);
  again.record([ended("new", 5000)]);
  await search(again, { host: "*" }, 100);
  await again.flush();
  again.record([ended("newer", 6000)]);
  assert.match(ids(await search(again, {}, 10)), /newer/);
  assert.equal(again.info().state, "running");
  await again.close();
});

test("A file that is moved away while the node runs is begun anew, and the log says so", async () => {
  const options = optionsIn();
  const history = openHistory(options);
  history.record([ended("a", 1000)]);
  await history.flush();
  const folder = join(options.file, "..");
  for (const name of readdirSync(folder)) renameSync(join(folder, name), join(folder, `${name}.moved`));
  history.record([ended("b", 2000)]);
  await history.flush();
  assert.equal(ids(await search(history, {}, 10)), "b");
  await history.close();
  assert.match(options.said.join(), /history\.db was moved or removed; the node goes on with what is there now/);
  const again = openHistory(options);
  assert.equal(ids(await search(again, {}, 10)), "b");
  await again.close();
});

test("A database of a later version is moved aside, not used", async () => {
  const options = optionsIn();
  await openHistory(options).close();
  const database = new DatabaseSync(options.file);
  database.exec("PRAGMA user_version = 99");
  database.close();
  await openHistory(options).close();
  assert.match(options.said.join(), /later version.*moved aside/);
});

test("A path that cannot be written stops the history without an exception, and the log says so once", async () => {
  const options = optionsIn();
  mkdirSync(join(options.file, ".."));
  writeFileSync(join(options.file, "..", "file"), "");
  const history = openHistory({ ...options, file: join(options.file, "..", "file", "history.db") });
  for (let i = 0; i < 20_000; i++) history.record([ended(`s${i}`, i)]);
  await history.flush();
  await history.flush();
  assert.equal(ids(await search(history, {}, 2)), "s19999 s19998");
  assert.equal(await history.find("s0"), undefined);
  assert.equal(history.info().state, "stopped");
  assert.ok(history.info().reason);
  await history.close();
  assert.equal(options.said.length, 1);
});

test("A full disk stops the history, and both the written and the waiting records are still found", async () => {
  const { file } = optionsIn();
  const script = `
    import { Disk } from "${import.meta.dirname}/disk.ts";
    import { openHistory } from "${import.meta.dirname}/history.ts";
    import { testSession } from "${import.meta.dirname}/test-operations.ts";
    const said = [];
    const log = { info: (text) => said.push(text), warn: (text) => said.push(text) };
    const disk = new Disk();
    const history = openHistory({ file: ${JSON.stringify(file)}, keepAge: 1e15, keepSessions: 1e6, log, disk });
    for (let i = 0; i < 1000; i++) history.record([{ ...testSession("s" + i, i), end: i }]);
    await history.flush();
    const { state } = history.info();
    console.log(JSON.stringify({ state, found: (await Array.fromAsync(history.pages({}, 5000))).flat().length, said: said.length }));
    await history.close();
    await disk.close();`;
  // A limit on the size of files stands for the disk: the write fails as it does there, with another number.
  const command = 'ulimit -f 800; trap "" XFSZ; exec "$0" --input-type=module-typescript -e "$1"';
  const { stdout, stderr } = spawnSync("sh", ["-c", command, process.execPath, script], { encoding: "utf8" });
  assert.deepEqual(JSON.parse(stdout || stderr), { state: "stopped", found: 1000, said: 1 });
});
