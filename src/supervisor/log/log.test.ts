import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { until } from "../../../test/processes.ts";
import { openSession } from "../../sessions/session.ts";
import { createFileTarget } from "./file.ts";
import { type Line, readLine } from "./line.ts";
import { RecentLines } from "./recent.ts";
import { sessionLine } from "./session-line.ts";
import { isJournal, plain, textRenderer, withPriority } from "./stderr.ts";
import { createSyslogTarget, syslogMessage } from "./syslog.ts";
import { splitLines } from "./targets.ts";

const LINE: Line = { json: '{"level":"warn","time":"2026-11-28T00:00:00.000Z","msg":"x"}', level: "warn" };

test("A line of the log is told from what a crash writes", () => {
  assert.deepEqual(readLine(LINE.json), LINE);
  for (const text of ["", "FATAL ERROR: out of memory", '{"level":"loud","msg":"x"}', '{"level":"warn","msg":"cu'])
    assert.equal(readLine(text), undefined, text);
});

test("A message of RFC 5424 has the severity of the line and the facility of the configuration", () => {
  const message = syslogMessage(LINE, "local4", Date.UTC(2026, 10, 28, 11, 0, 0, 5));
  assert.match(message, /^<164>1 2026-11-28T11:00:00\.005Z \S+ clearline \d+ - - \{"level":"warn"/);
  const session = { json: '{"level":"info","ecs":{"version":"8.17.0"}}', level: "info" } as const;
  assert.match(syslogMessage(session, "daemon", 0), /^<30>1 1970-01-01T00:00:00\.000Z \S+ clearline \d+ session - /);
});

test("The last lines are kept for the API, in order and within bounds", () => {
  const recent = new RecentLines();
  recent.take({
    json: '{"level":"warn","time":"2026-11-28T00:00:00.000Z","pid":7,"name":"clearline","a":1,"msg":"x"}',
    level: "warn",
  });
  const [line] = recent.since(0);
  const time = Date.UTC(2026, 10, 28);
  assert.deepEqual(line, { number: 1, time, level: "warn", pid: 7, message: "x", fields: { a: 1 } });
  recent.take({ json: `{"level":"error","msg":"${"y".repeat(10_000)}"}`, level: "error" });
  assert.match(recent.since(1)[0]!.message, /^A line of 100\d\d characters/);
  recent.take({ json: '{"level":"info", what a worker that was taken over writes}', level: "info" });
  assert.deepEqual([recent.since(2)[0]!.level, recent.since(2)[0]!.time], ["info", null]);
  for (let count = 0; count < 1_200; count += 1) recent.take(LINE);
  assert.deepEqual([recent.last, recent.since(0).length, recent.since(0)[0]!.number], [1_203, 1_000, 204]);
  assert.deepEqual(
    recent.since(1_201).map(({ number }) => number),
    [1_202, 1_203],
  );
});

test("Lines that no log writes, as of a worker that was taken over, are shown as text or as they are", async () => {
  const render = await textRenderer();
  const recent = new RecentLines();
  const text = '{"toString":1,"valueOf":1}';
  for (const rest of [`"msg":${text}`, `"time":${text}`, '"ecs":1', "no JSON", '"\u009b31m"']) {
    const json = `{"level":"info",${rest}}`;
    recent.take({ json, level: "info" });
    assert.match(render(json), /^[^\u009b]+\n$/, json);
  }
  assert.deepEqual(
    recent
      .since(0)
      .map(({ message, time }) => [message, time])
      .slice(0, 3),
    [
      [text, null],
      ["", null],
      ["", null],
    ],
  );
});

test("In the journal every line has its priority", () => {
  assert.equal(withPriority("one\ntwo\n", 3), "<3>one\n<3>two\n");
  assert.equal(isJournal(undefined, 2), false);
  assert.equal(isJournal("1:1", 2), false);
});

test("Standard error that is the journal's has priorities, and no other", () => {
  const program = `
    const { createStderrTarget } = await import(${JSON.stringify(new URL("stderr.ts", import.meta.url).href)});
    const target = await createStderrTarget({ format: "auto" });
    target.take({ json: "{}", level: "error" });
  `;
  const stream = '"$(stat -L -c %d:%i /proc/self/fd/2)"';
  const errors = (journal: string) =>
    spawnSync(
      "sh",
      ["-c", `JOURNAL_STREAM=${journal} exec "$0" --input-type=module -e "$1"`, process.execPath, program],
      {
        encoding: "utf8",
      },
    ).stderr;
  assert.equal(errors(stream), "<3>{}\n");
  assert.equal(errors("1:2"), "{}\n");
});

test("A terminal gets colours, and no other control sequence", () => {
  assert.equal(
    plain("\u001b[32mINFO\u001b[39m a\u001b]0;title\u0007b\u202ec"),
    "\u001b[32mINFO\u001b[39m a\ufffd]0;title\ufffdb\ufffdc",
  );
});

test("What a worker writes is cut into lines, and a line without an end is cut off", () => {
  const lines: string[] = [];
  const stream = new PassThrough();
  splitLines(stream, (line) => lines.push(line));
  stream.write("on");
  stream.write("e\ntwo\n\nthree");
  stream.write("x".repeat(300_000));
  stream.write("y".repeat(300_000));
  stream.write("\nlast\n");
  assert.deepEqual(
    lines.map((line) => line.slice(0, 6)),
    ["one", "two", "", "threex", "last"],
  );
  assert.equal(lines[3]?.length, 256 * 1024);
});

test("A reader that hangs costs lines, which are counted, and no time", async () => {
  // The pipe is never read: the process goes on, and ends.
  const program = `
    const { log, stderr } = await import(${JSON.stringify(new URL("../../log.ts", import.meta.url).href)});
    const line = "x".repeat(10_000);
    for (let count = 0; count < 1_000; count += 1) log.info(line);
    // The reader hangs for longer than the writer waits for one at the end: the time itself is what is tested.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    process.stdout.write(String(stderr.dropped));
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "pipe"] });
  child.stderr.pause();
  const [dropped] = await Promise.all([once(child.stdout, "data"), once(child, "exit")]);
  assert.ok(Number(dropped) > 500);
});

test("Last words of a worker that nobody reads hold up nothing", async () => {
  const program = `
    const { PassThrough } = await import("node:stream");
    const { openTargets } = await import(${JSON.stringify(new URL("./targets.ts", import.meta.url).href)});
    const targets = await openTargets([], new Map());
    const worker = new PassThrough({ highWaterMark: 2 ** 24 });
    targets.readWorker(worker);
    for (let count = 0; count < 300; count += 1) worker.write("FATAL ERROR " + "x".repeat(10_000) + "\\n");
    worker.end(() => process.stdout.write("went on"));
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "pipe"] });
  child.stderr.pause();
  const [said] = await once(child.stdout, "data");
  child.kill("SIGKILL");
  assert.equal(String(said), "went on");
});

test("What was logged just before the end of a process is written, once", () => {
  const program = `
    const { log } = await import(${JSON.stringify(new URL("../../log.ts", import.meta.url).href)});
    log.warn("first");
    // Written already, as is usual, or not yet: it is there once either way.
    await new Promise((resolve) => setTimeout(resolve, 50));
    log.error("last");
    process.exit(3);
  `;
  const { stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  const lines = stderr
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [
      ["warn", "first"],
      ["error", "last"],
    ],
  );
  assert.match(lines[0].time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.equal(status, 3);
});

test("Lines wait for a syslog server that is away, some are left out, and it gets the others when it is there", async () => {
  const listening = net.createServer();
  await once(listening.listen(0, "127.0.0.1"), "listening");
  const { port } = listening.address() as net.AddressInfo;
  listening.close();
  await once(listening, "close");
  const options = { kind: "syslog", facility: "daemon", trust: undefined } as const;
  const target = createSyslogTarget({ ...options, transport: "tcp", address: { host: "127.0.0.1", port } });
  await until("why it takes none", () => /ECONNREFUSED/.test(target.stopped ?? ""));
  for (let count = 0; count < 10_010; count += 1) target.take(LINE);
  assert.equal(target.dropped, 10);
  let received = "";
  const server = net.createServer((socket) => socket.setEncoding("utf8").on("data", (text) => (received += text)));
  await once(server.listen(port, "127.0.0.1"), "listening");
  await until("all lines", () => received.split('"msg":"x"}').length === 10_001);
  // RFC 6587: the length of each message is before it.
  const [, length = ""] = /^(\d+) /.exec(received) ?? [];
  assert.match(received.slice(length.length + 1, length.length + 1 + Number(length)), /^<28>1 .*\}$/);
  assert.equal(target.stopped, undefined);
  await target.close();
  server.close();
});

test("Files of the log are lines of JSON, and the oldest are deleted", async () => {
  const directory = mkdtempSync(join(tmpdir(), "clearline-log-"));
  const target = await createFileTarget({ kind: "file", directory, rotate: 4096, rotateAfter: undefined, keep: 2 });
  for (let count = 0; count < 500; count += 1)
    target.take({ ...LINE, json: LINE.json.replace("x", "é".repeat(count % 4)) });
  await target.close();
  const files = readdirSync(directory);
  assert.equal(files.length, 2);
  for (const line of files.flatMap((file) => readFileSync(join(directory, file), "utf8").trimEnd().split("\n")))
    assert.equal(JSON.parse(line).level, "warn");
  rmSync(directory, { recursive: true });
});

test("The line of a session has the names of the Elastic Common Schema", () => {
  const [client, server] = [
    { address: "192.0.2.7", port: 50_000 },
    { address: "198.51.100.5", port: 443 },
  ];
  const birth = { id: "s-1", worker: 0, listener: "web", mode: "forward", client, server } as const;
  const leg = { version: "TLSv1.3", suite: "TLS_AES_128_GCM_SHA256", received: 100, sent: 200 };
  const line = sessionLine({
    ...openSession({ ...birth, state: "EST:INIT:INIT:INIT" }, 1_795_000_000_000),
    ...{ protocol: "tls", sni: "www.example.com", communityId: "1:abc=", verdict: "decrypt", rule: "default" },
    ...{ clientLeg: leg, serverLeg: leg, end: 1_795_000_002_000, closeReason: "Closed", outcome: "decrypted" },
    certificate: {
      ...{
        subject: "CN=www",
        issuer: "CN=ca",
        names: [],
        sha256: "ab",
        notBefore: 8.64e15 + 1,
        notAfter: null,
        faults: [],
      },
    },
  });
  assert.partialDeepStrictEqual(JSON.parse(JSON.stringify(line)), {
    "@timestamp": "2026-11-18T11:06:42.000Z",
    event: { id: "s-1", action: "decrypt", outcome: "success", reason: "Closed", duration: 2_000_000_000 },
    network: { community_id: "1:abc=", protocol: "tls", bytes: 300 },
    source: { ip: "192.0.2.7", port: 50_000 },
    destination: { ip: "198.51.100.5", domain: "www.example.com" },
    tls: { version: "1.3", version_protocol: "tls", cipher: "TLS_AES_128_GCM_SHA256", established: true },
    clearline: { outcome: "decrypted", cause: null },
  });
});
