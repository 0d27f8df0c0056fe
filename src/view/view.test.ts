import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { queryObjects } from "node:v8";
import { gzipSync } from "node:zlib";
import pino from "pino";
import { assertHar } from "../../test/har.ts";
import { createHttpFeed } from "../feeds/http.ts";
import { createMessageReader, HEAD, MESSAGES, type Message, viewSocket, writeHead } from "../feeds/http-link.ts";
import { connectionsIn, readPacket, readPcapng } from "../feeds/test-packets.ts";
import { answer, Refused } from "./asks.ts";
import { BodyDecoder } from "./decode.ts";
import type { Part } from "./follow.ts";
import { PREFACE } from "./http2.ts";
import { openIntake } from "./intake.ts";
import { TransactionLines } from "./lines.ts";
import type { Ask, ViewSetup } from "./protocol.ts";
import { client, frame, type Said, SESSION, server } from "./test-conversation.ts";
import type { Detail, Transaction } from "./transaction.ts";
import { View } from "./view.ts";

const SILENT = pino({ level: "silent" });
const LIMITS = { memory: 1024 * 1024, session: 256 * 1024, body: 64 * 1024 };
const SETUP: ViewSetup = {
  ...{ version: "1.2.3", dataDir: "/nonexistent", user: undefined, tells: false },
  feed: { name: "http", rotate: 1e6, keep: 10, bodies: false, limits: LIMITS, ports: { default: 80 } },
};

const ZIPPED = gzipSync("hello from the other side");
const PAGE: readonly Said[] = [
  client(
    "POST /form?a=1&b=%20 HTTP/1.1\r\nHost: shop.example\r\nCookie: id=7; x=y\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
  ),
  client('{"in": 1}'),
  server("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n"),
  server(`Set-Cookie: id=8; Path=/; HttpOnly; Secure\r\nContent-Length: ${ZIPPED.length}\r\n\r\n`),
  ["server", ZIPPED],
];

/** An answer that ends with its connection. */
const CLOSING: readonly Said[] = [client("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 200 OK\r\n\r\npart")];

const bugs: unknown[] = [];
afterEach(() => assert.deepEqual(bugs.splice(0), []));

function openView(onDone: (transaction: Transaction, detail: Detail) => void = () => {}, limits = LIMITS): View {
  return new View({
    limits,
    keeping: { heads: true, body: limits.body, total: 1e6 },
    onDone,
    onBug: (error) => bugs.push(error),
  });
}

/** Has the view read a session. Returns it while it is live. */
function talk(view: View, said: readonly Said[], id = SESSION.id, host = "www.example.com") {
  const session = view.open({ ...SESSION, id, host }, 1000);
  let now = 1000;
  for (const [from, bytes] of said) {
    now += 1;
    session.data(from, bytes, now);
  }
  return session;
}

async function ask(view: View, what: Ask): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of answer(what, view, SETUP, new AbortController().signal)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

test("Transactions are listed by session and by host, the newest first", async () => {
  const view = openView();
  talk(view, PAGE, "one").close(2000);
  talk(view, [client("GET / HTTP/1.1\r\nHost: a.other.example\r\n\r\n")], "two");
  const list = async (query: object) =>
    JSON.parse((await ask(view, { of: "transactions", limit: 10, ...query })).toString()).transactions.map(
      ({ session, status, state }: Transaction) => `${session} ${status} ${state}`,
    );
  assert.deepEqual(await list({}), ["two null open", "one 200 complete"]);
  assert.deepEqual(await list({ host: "*.other.example" }), ["two null open"]);
  assert.deepEqual(await list({ host: "OTHER.example" }), []);
  assert.deepEqual(await list({ session: "one", limit: 1 }), ["one 200 complete"]);
  await assert.rejects(list({ session: "three" }), Refused);
});

test("A HAR file is valid by its schema, with bodies only on request", async () => {
  const view = openView();
  talk(view, PAGE, "one").close(2000);
  talk(view, [client("GET / HTTP/1.1\r\nHost: a\r\n\r\n")], "two").close(2000);
  talk(view, [client("\x16\x03\x01")], "three").close(2000);
  const har = async (what: Omit<Extract<Ask, { of: "har" }>, "of">) => {
    const file = JSON.parse((await ask(view, { of: "har", ...what })).toString());
    assertHar(file);
    return file.log.entries;
  };
  const [plain, ...none] = await har({ session: "one", bodies: false });
  assert.deepEqual([none, plain.request.postData, plain.response.content.text], [[], undefined, undefined]);
  const both = await har({ bodies: true });
  const [entry, second] = ["one", "two"].map((id) =>
    both.find(({ connection }: { connection: string }) => connection === id),
  );
  assert.deepEqual(entry.request.postData, { mimeType: "application/json", text: '{"in": 1}' });
  assert.equal(entry.response.content.text, "hello from the other side");
  talk(view, [client("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\xff\xfe")], "binary").close(2000);
  const [binary] = await har({ session: "binary", bodies: true });
  assert.deepEqual(binary.request.postData, { mimeType: "", text: "//4=", comment: "the text is in base64" });
  assert.deepEqual(entry.request.queryString, [
    { name: "a", value: "1" },
    { name: "b", value: " " },
  ]);
  assert.deepEqual(entry.response.cookies, [{ name: "id", value: "8", path: "/", httpOnly: true, secure: true }]);
  assert.deepEqual([entry.startedDateTime, entry.time], ["1970-01-01T00:00:01.001Z", 4]);
  assert.deepEqual([second.response.status, second.comment], [0, "the session ended first"]);
  assert.deepEqual((await har({ host: "shop.example", bodies: false })).length, 1);
});

async function nextPart(parts: AsyncGenerator<string | Uint8Array>): Promise<Part | undefined> {
  const { value, done } = await parts.next();
  return done ? undefined : JSON.parse(String(value));
}

test("A follower is told what was said, and then what is being said", async () => {
  const view = openView();
  const session = talk(view, PAGE);
  const parts = answer({ of: "follow", session: SESSION.id }, view, SETUP, new AbortController().signal);
  assert.match((await nextPart(parts))?.text ?? "", /^POST \/form\?a=1&b=%20 HTTP\/1.1\nHost: shop.example\n/);
  assert.equal((await nextPart(parts))?.text, '{"in": 1}');
  assert.match((await nextPart(parts))?.text ?? "", /^HTTP\/1.1 200 OK\n/);
  assert.equal((await nextPart(parts))?.text, "hello from the other side");
  const later = nextPart(parts);
  session.data("client", Buffer.from("GET /later HTTP/1.1\r\nHost: a\r\n\r\n"), 3000);
  assert.match((await later)?.text ?? "", /^GET \/later/);
  const last = nextPart(parts);
  session.close(4000);
  assert.equal((await last)?.text, "the session has ended");
  assert.equal(await nextPart(parts), undefined);
});

test("A follower who leaves is let go, also while nothing is said", async () => {
  const view = openView();
  talk(view, []);
  const leaving = new AbortController();
  const parts = answer({ of: "follow", session: SESSION.id }, view, SETUP, leaving.signal);
  const waiting = nextPart(parts);
  leaving.abort();
  await waiting;
});

test("A follower holds no decoder of exchanges that were reset", async () => {
  const view = openView();
  // POST with content-encoding: gzip, in HPACK without Huffman's code; no END_STREAM.
  const fields = Buffer.concat([Buffer.from([0x83, 0x84, 0x87, 0x5a, 4]), Buffer.from("gzip")]);
  const resets = Array.from({ length: 300 }, (_, index) => [
    frame(1, 4, 2 * index + 1, fields),
    frame(3, 0, 2 * index + 1, Buffer.alloc(4)),
  ]);
  talk(view, [["client", Buffer.concat([PREFACE, frame(4, 0, 0), ...resets.flat()])]]);
  const parts = answer({ of: "follow", session: SESSION.id }, view, SETUP, new AbortController().signal);
  for (let resetsTold = 0; resetsTold < 300; ) if ((await nextPart(parts))?.kind === "note") resetsTold += 1;
  // Streams close in a later turn.
  await setImmediate();
  const held = Number(queryObjects(BodyDecoder));
  assert.ok(held < 10, `${held} are held`);
  await parts.return(undefined);
});

test("A session that is left behind is told so", async () => {
  const view = openView();
  talk(view, PAGE.slice(0, 2)).leaveBehind("left behind: the view could not follow", 2000);
  const parts = (await ask(view, { of: "follow", session: SESSION.id })).toString();
  assert.match(parts, /the rest cannot be shown: left behind: the view could not follow/);
  const [one] = view.transactions(() => true, 10);
  assert.deepEqual([one?.state, one?.problem], ["aborted", "left behind: the view could not follow"]);
  assert.equal(view.state().leftBehind, 1);
});

test("A session with many transactions pushes none of another session from the list", () => {
  const view = openView();
  talk(view, PAGE, "quiet").close(2000);
  const many = talk(view, [], "busy");
  for (let number = 0; number < 3000; number++) {
    many.data("client", Buffer.from(`GET /${number} HTTP/1.1\r\nHost: a\r\n\r\n`), 3000 + number);
    many.data("server", Buffer.from("HTTP/1.1 204 No Content\r\n\r\n"), 3000 + number);
  }
  const listed = view.transactions(() => true, 10_000);
  assert.match(listed[0]?.url ?? "", /\/2999$/);
  assert.equal(listed.at(-1)?.session, "quiet");
  assert.ok(listed.length <= 1001);
});

test("A bug of the view costs the display of one session", () => {
  const view = openView(({ session }) => assert.notEqual(session, "odd"));
  talk(view, PAGE, "odd").close(2000);
  talk(view, PAGE, "even").close(2000);
  assert.equal(bugs.splice(0).length, 1);
  assert.equal(view.memory.find("odd")?.missing, "left behind: a bug of the view, which its log tells");
  assert.equal(view.memory.find("even")?.missing, undefined);
});

test("Memory is bounded: the oldest sessions go, and a long one is held from its beginning", async () => {
  const view = openView();
  const body = Buffer.alloc(100_000, "x");
  const head = server(`HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n`);
  for (let number = 0; number < 20; number++)
    talk(view, [client("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), head, ["server", body]], `s${number}`).close(2000);
  assert.ok(view.state().held <= LIMITS.memory);
  await assert.rejects(ask(view, { of: "pcap", session: "s0" }), Refused);
  const long = talk(view, [client("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), head], "long");
  for (let part = 0; part < 100; part++) long.data("server", body, 3000);
  assert.ok(view.state().held <= LIMITS.memory);
  // It is still read to its end, which is only not held.
  assert.equal(view.transactions((one) => one.session === "long", 1)[0]?.responseBytes, 10_000_000);
  assert.match((await ask(view, { of: "follow", session: "long" })).toString(), /only its first 262144 bytes are held/);
});

test("A session as packets is what was said", async () => {
  const view = openView();
  talk(view, PAGE).close(5000);
  const packets = readPcapng(await ask(view, { of: "pcap", session: SESSION.id }));
  const [seen, ...others] = connectionsIn(packets.map(({ bytes }) => bytes));
  assert.deepEqual(others, []);
  const of = (side: string) => Buffer.concat(PAGE.filter(([from]) => from === side).map(([, bytes]) => bytes));
  assert.deepEqual([seen?.client, seen?.server], [of("client"), of("server")]);
});

test("An answer that was cut ends as a reset in the packets, and is told so", async () => {
  const view = openView();
  const session = talk(view, CLOSING);
  session.end("server", true, 4000);
  session.end("client", false, 4001);
  session.close(5000);
  const packets = readPcapng(await ask(view, { of: "pcap", session: SESSION.id }));
  assert.equal(readPacket(packets.at(-1)!.bytes).flags, "RST ACK");
  assert.match((await ask(view, { of: "har", session: SESSION.id, bodies: false })).toString(), /may not be whole/);
});

test("Lines of JSON are written for transactions, with bodies where they are asked for", async (t) => {
  for (const bodies of [false, true]) {
    const directory = folder(t);
    const lines = await TransactionLines.open({
      ...{ name: "http", directory, rotate: 4096, rotateAfter: undefined, keep: 3, bodies, body: 1000, log: SILENT },
    });
    const view = openView((transaction, detail) => lines.take(transaction, detail));
    for (let number = 0; number < 40; number++) talk(view, PAGE, `s${number}`).close(2000);
    await lines.close();
    const files = readdirSync(directory).sort();
    assert.equal(files.length, 3);
    const last = join(directory, files.at(-1)!);
    assert.equal(statSync(last).mode & 0o777, 0o600);
    const line = JSON.parse(readFileSync(last, "utf8").trimEnd().split("\n").at(-1)!);
    assert.deepEqual([line.session, line.time, line.status], ["s39", "1970-01-01T00:00:01.001Z", 200]);
    const body = { type: "text/plain", text: "hello from the other side" };
    assert.deepEqual(line.responseBody, bodies ? body : undefined);
  }
});

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "clearline-view-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function openFeed(dataDir: string, log = SILENT) {
  return createHttpFeed({ name: "http", dataDir, worker: 0, log, flows: ["decrypted"], retry: 20 });
}

test("Sessions are left behind when the view reads nothing, also those that only begin", async (t) => {
  const dataDir = folder(t);
  mkdirSync(join(dataDir, "feeds"));
  const deaf = createServer({ pauseOnConnect: true });
  await once(deaf.listen(viewSocket(dataDir, "http")), "listening");
  t.after(() => deaf.close());
  const connected = once(deaf, "connection") as Promise<[Socket]>;
  const feed = await openFeed(dataDir);
  const [socket] = await connected;
  t.after(() => socket.destroy());
  const session = { ...SESSION, description: "x".repeat(60_000) };
  for (let count = 0; count < 600; count += 1) feed.open(session, Date.now());
  assert.ok(feed.counters().bytes < 34 * 1024 * 1024);
  assert.ok(feed.counters().dropped > 0);
  socket.destroy();
  await feed.close();
});

test("A worker's feed reaches the view, and sessions go on when the view has gone", async (t) => {
  const dataDir = folder(t);
  const view = openView();
  const intake = await openIntake(viewSocket(dataDir, "http"), view);
  const feed = await openFeed(dataDir);
  const flow = feed.open(SESSION, Date.now());
  const large = Buffer.alloc(600_000, "x");
  for (const [from, bytes] of PAGE) flow.data(from, bytes);
  flow.data("client", large);
  flow.close();
  await until(() => view.transactions(() => true, 10).length === 1);
  await until(() => view.memory.find(SESSION.id)?.isOver === true);
  for (const isCut of [false, true]) {
    const cut = feed.open({ ...SESSION, id: `cut ${isCut}` }, Date.now());
    for (const [from, bytes] of CLOSING) cut.data(from, bytes);
    cut.end("server", isCut);
    cut.close();
  }
  const seen = () => view.transactions(({ session }) => session.startsWith("cut"), 10);
  await until(() => seen().length === 2 && seen().every(({ state }) => state !== "open"));
  assert.deepEqual(
    seen()
      .map(({ session, state }) => [session, state])
      .sort(),
    [
      ["cut false", "complete"],
      ["cut true", "aborted"],
    ],
  );
  assert.equal(feed.counters().dropped, 0);
  intake.close();
  await until(() => feed.counters().state === "stopped");
  feed.open(SESSION, Date.now()).data("client", large);
  assert.equal(feed.counters().dropped, 1);
  const again = openView();
  const second = await openIntake(viewSocket(dataDir, "http"), again);
  await until(() => feed.counters().state === "running");
  feed.open({ ...SESSION, id: "next" }, Date.now()).data("client", PAGE[0]![1]);
  await until(() => again.transactions(() => true, 10).length === 1);
  await feed.close();
  second.close();
});

test("A view that cannot follow is left behind with a count, and the session never waits", async (t) => {
  const dataDir = folder(t);
  const view = openView();
  const intake = await openIntake(viewSocket(dataDir, "http"), view);
  const feed = await openFeed(dataDir);
  const flow = feed.open(SESSION, Date.now());
  flow.data("client", Buffer.from("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
  // All in one turn: the view cannot read a byte meanwhile.
  for (let part = 0; part < 100; part++) flow.data("client", Buffer.alloc(1024 * 1024));
  assert.equal(feed.pressure(), undefined);
  assert.equal(feed.counters().dropped, 1);
  await until(() => view.state().leftBehind === 1);
  await feed.close();
  intake.close();
});

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await once(AbortSignal.timeout(5), "abort");
}

test("Messages of the link may be cut anywhere, and others are refused", () => {
  const payload = Buffer.from("payload");
  const message = (kind: number, length: number) => {
    const head = Buffer.alloc(HEAD);
    writeHead(head, 0, { kind, session: 7, time: 1.5, length });
    return Buffer.concat([head, payload.subarray(0, length)]);
  };
  const bytes = Buffer.concat([message(MESSAGES.open, 7), message(MESSAGES.client, 7), message(MESSAGES.close, 0)]);
  for (let step = 1; step < bytes.length; step++) {
    const found: Message[] = [];
    const read = createMessageReader((one) => found.push({ ...one, payload: Buffer.from(one.payload) }), assert.fail);
    for (let at = 0; at < bytes.length; at += step) read(bytes.subarray(at, at + step));
    const data = Buffer.concat(found.filter(({ kind }) => kind === MESSAGES.client).map((one) => one.payload));
    assert.deepEqual([found[0]?.payload, data, found.at(-1)?.kind], [payload, payload, MESSAGES.close]);
    assert.ok(found.every(({ session, time }) => session === 7 && time === 1.5));
  }
  let refusals = 0;
  const read = createMessageReader(
    () => assert.fail(),
    () => refusals++,
  );
  read(message(MESSAGES.client, 2 ** 31));
  read(bytes);
  assert.equal(refusals, 1);
});
