import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { until } from "../../test/processes.ts";
import { ConfigError } from "../errors.ts";
import type { AuditList, LogList, SessionEvents, SessionList, Stats, TopList, TroubleRow } from "./api.ts";
import { type AuditedStep, openAudit } from "./audit.ts";
import { isLocalHost } from "./auth.ts";
import { startControl } from "./server.ts";
import { createTestOperations, disk, QUIET, testSession } from "./test-operations.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-control-"));
const tokenFile = join(folder, "data", "token");
const operations = createTestOperations();
const logged: string[] = [];
const log = { ...QUIET, error: (message: string) => logged.push(message) };
const control = await startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log });
const token = readFileSync(tokenFile, "utf8").trim();
const base = `http://127.0.0.1:${control.address.port}`;

after(async () => {
  await control.close();
  await operations.history.close();
  rmSync(folder, { recursive: true });
});

async function ask(path: string, init: RequestInit = {}) {
  const headers = { authorization: `Bearer ${token}`, ...(init.body ? { "content-type": "application/json" } : {}) };
  const answer = await fetch(base + path, { ...init, headers: { ...headers, ...init.headers } });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, json: () => JSON.parse(text) };
}

test("The token is made once, of 32 random bytes, and only the node's user can read it", async () => {
  assert.equal(Buffer.from(token, "base64url").length, 32);
  assert.equal(statSync(tokenFile).mode & 0o777, 0o600);
  const again = await startControl(createTestOperations(), { host: "127.0.0.1", port: 0, tokenFile, log });
  await again.close();
  assert.equal(readFileSync(tokenFile, "utf8").trim(), token);
});

test("A token that other users can read is closed to them, and the log says so", async () => {
  const file = join(folder, "loose");
  writeFileSync(file, `${"t".repeat(43)}\n`);
  chmodSync(file, 0o644);
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  const other = await startControl(createTestOperations(), {
    host: "127.0.0.1",
    port: 0,
    tokenFile: file,
    log: { ...log, warn },
  });
  await other.close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.match(warnings.join(), /^Other users could read/);
});

test("An unusable token file is a configuration error that names it", async () => {
  const file = join(folder, "empty");
  writeFileSync(file, "\n");
  const start = startControl(createTestOperations(), { host: "127.0.0.1", port: 0, tokenFile: file, log });
  await assert.rejects(start, (error: Error) => error instanceof ConfigError && error.message.includes(file));
});

for (const path of [
  "/api/v1/sessions",
  "/api/v1/stats",
  "/api/v1/keys",
  "/api/v1/events",
  "/metrics",
  "/api/v1/nothing",
]) {
  test(`${path} is closed without the token, and with a wrong one`, async () => {
    assert.equal((await ask(path, { headers: { authorization: "" } })).status, 401);
    const wrong = `${token.slice(0, -1)}${token.endsWith("A") ? "B" : "A"}`;
    const refused = await ask(path, { headers: { authorization: `Bearer ${wrong}` } });
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get("www-authenticate") ?? "", /^Bearer/);
  });
}

test("A long list is sent piece by piece, and the API answers others while its client reads", async () => {
  const COUNT = 3_000;
  const own = createTestOperations();
  const other = await startControl(own, { host: "127.0.0.1", port: 0, tokenFile, log });
  const long = "x".repeat(1_000);
  const sessions = Array.from({ length: COUNT }, (_, index) => testSession(`long${index}`, index, { reason: long }));
  own.apply(...sessions.slice(0, COUNT / 2), ...sessions.slice(COUNT / 2).map((one) => ({ ...one, end: one.start })));
  const place = { port: other.address.port, host: "127.0.0.1" };
  const headers = { authorization: `Bearer ${token}` };
  const list = request({ ...place, path: "/api/v1/sessions?limit=10000", headers }).end();
  const answer: IncomingMessage = (await once(list, "response"))[0];
  assert.equal(answer.headers["transfer-encoding"], "chunked");
  assert.equal(answer.headers["x-content-type-options"], "nosniff");
  // Nothing of the list has been read.
  assert.equal((await fetch(`http://127.0.0.1:${place.port}/api/v1/health`)).status, 200);
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  const { sessions: found, more }: SessionList = JSON.parse(Buffer.concat(chunks).toString());
  assert.deepEqual([found.length, new Set(found.map(({ id }) => id)).size, more], [COUNT, COUNT, false]);
  assert.deepEqual(
    found.map(({ start }) => start),
    sessions.map(({ start }) => start).reverse(),
  );

  // A client that leaves in the middle ends its list, and nothing else.
  const left = request({ ...place, path: "/api/v1/sessions?limit=10000", headers })
    .on("error", () => {})
    .end();
  const begun: IncomingMessage = (await once(left, "response"))[0];
  begun.destroy();
  assert.equal((await fetch(`http://127.0.0.1:${place.port}/api/v1/health`)).status, 200);
  await other.close();
  await own.history.close();
});

test("600 half requests do not close the API to those who have the token", async () => {
  const half = Array.from({ length: 600 }, () => connect(control.address.port, "127.0.0.1").on("error", () => {}));
  for (const socket of half) socket.resume().write("GET /api/v1/stats HTTP/1.1\r\nHost: 127.0.0.1\r\n");
  await Promise.all(half.map((socket) => (socket.connecting ? once(socket, "connect") : undefined)));
  assert.equal((await ask("/api/v1/stats")).status, 200);
  // One that waits for events stays, whatever comes after it.
  const events = await fetch(`${base}/api/v1/events`, { headers: { authorization: `Bearer ${token}` } });
  const more = Array.from({ length: 300 }, () => connect(control.address.port, "127.0.0.1").on("error", () => {}));
  await Promise.all(more.map((socket) => once(socket, "connect")));
  assert.equal((await ask("/api/v1/stats")).status, 200);
  const reader = events.body!.getReader();
  assert.match(Buffer.from((await reader.read()).value!).toString(), /^retry/);
  await reader.cancel();
  for (const socket of [...half, ...more]) socket.destroy();
});

test("Health needs no token, but its reasons are told in words to those only who have it", async () => {
  const open = await fetch(`${base}/api/v1/health`);
  const short = { fact: "history", status: "degraded" };
  assert.deepEqual(await open.json(), { status: "degraded", version: "0.0.0-test", reasons: [short] });
  const { reasons } = (await ask("/api/v1/health")).json();
  assert.deepEqual(Object.keys(reasons[0]), ["fact", "status", "reason", "remedy"]);
});

test("Probes read the status code: a degraded node is ready, a failing one is only live", async () => {
  const probe = async (path: string) => (await fetch(`${base}/api/v1/health${path}`)).status;
  assert.deepEqual([await probe("/ready"), await probe("/live"), await probe("")], [200, 200, 200]);
  operations.state = "failing";
  assert.deepEqual([await probe("/ready"), await probe("/live"), await probe("")], [503, 200, 503]);
  operations.state = "degraded";
});

test("A request whose Host header is another machine's name is refused, even with the token", async () => {
  const status = await new Promise((resolve, reject) => {
    const headers = { host: "rebound.example:8484", authorization: `Bearer ${token}` };
    request(`${base}/api/v1/health`, { headers }, (answer) => resolve(answer.statusCode))
      .on("error", reject)
      .end();
  });
  assert.equal(status, 403);
});

for (const [host, local] of [
  ["127.0.0.1:8484", true],
  ["localhost", true],
  ["LocalHost:8484", true],
  ["[::1]:8484", true],
  ["localhost.example", false],
  ["127.0.0.1.example:8484", false],
  ["", false],
  [undefined, false],
] as const) {
  test(`The Host header ${host} ${local ? "names" : "does not name"} this machine`, () => {
    assert.equal(isLocalHost(host), local);
  });
}

test("Answers forbid caching, framing and guessing their type, and name no other origin", async () => {
  const { headers } = await ask("/api/v1/sessions", { headers: { origin: "https://rebound.example" } });
  assert.equal(headers.get("cache-control"), "no-store");
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
  assert.equal(headers.get("access-control-allow-origin"), null);
});

test("Sessions are found live and closed, by host and by state", async () => {
  operations.apply(
    testSession("live", 3000, { sni: "www.one.example", state: "EST:EST:INIT:INIT", verdict: "decrypt" }),
    testSession("old", 1000, { sni: "www.one.example" }),
    { id: "old", end: 2000 },
    testSession("other", 2000, { sni: "two.example" }),
  );
  const found = async (query: string) => {
    const { sessions, more }: SessionList = (await ask(`/api/v1/sessions?${query}`)).json();
    return sessions.map(({ id }) => id).join(" ") + (more ? " …" : "");
  };
  assert.equal(await found("host=www.one.example"), "live old");
  assert.equal(await found("host=*.ONE.example."), "live old");
  assert.equal(await found("host=*.one.example&live=true"), "live");
  assert.equal(await found("host=*.one.example&live=false"), "old");
  assert.equal(await found("host=*.one.example&limit=1"), "live …");
  assert.equal(await found("state=EST:EST"), "live");
  assert.equal(await found("verdict=none&live=true"), "other");
  assert.equal(await found("client=192.0.2.8"), "");
  assert.equal(await found("client=192.0.2.0/24&host=*.one.example"), "live old");
  assert.equal(await found("client=198.51.100.0/24"), "");
});

test("A list goes on behind its cursor, whatever begins and ends meanwhile", async () => {
  const begin = (index: number) =>
    testSession(`page${`${index}`.padStart(2, "0")}`, 7_000 + Math.floor(index / 3), { listener: "paged" });
  const end = (index: number) => ({ id: begin(index).id, end: 8_000, outcome: "decrypted" as const });
  operations.apply(...Array.from({ length: 20 }, (_, index) => begin(index)));
  operations.apply(...[1, 4, 8, 11].map(end));
  const ids: string[] = [];
  let cursor: string | null = "";
  for (let page = 0; cursor !== null; page += 1) {
    const query = `listener=paged&limit=4${cursor && `&cursor=${cursor}`}`;
    const list: SessionList = (await ask(`/api/v1/sessions?${query}`)).json();
    ids.push(...list.sessions.map(({ id }) => id));
    cursor = list.next;
    operations.apply(begin(30 + page), end(19 - page), end(page));
  }
  assert.deepEqual(
    ids,
    Array.from({ length: 20 }, (_, index) => begin(19 - index).id),
  );
});

test("Sessions are found by how, why and when they ended, and with whom", async () => {
  const server = { address: "198.51.100.9", port: 443 };
  const refused = { end: 9_100, closeReason: "The client refused the handshake: unknown_ca" } as const;
  operations.apply(
    testSession("refused", 9_000, { listener: "ends", server, rule: "banking", reason: "The rule says so" }),
    { id: "refused", ...refused, outcome: "clientRefusedCertificate", cause: "unknown_ca", blame: "client" },
    testSession("open", 9_001, { listener: "ends", clientLeg: { version: "TLSv1.2", received: 1, sent: 1 } }),
  );
  const found = async (query: string) => {
    const { sessions }: SessionList = (await ask(`/api/v1/sessions?listener=ends&${query}`)).json();
    return sessions.map(({ id }) => id).join(" ");
  };
  assert.equal(await found("outcome=clientRefusedCertificate,serverFailed"), "refused");
  assert.equal(await found("outcome=live"), "open");
  assert.equal(await found("cause=unknown_ca&blame=client"), "refused");
  assert.equal(await found("server=198.51.100.0/24&rule=banking"), "refused");
  assert.equal(await found("reason=*REFUSED*unknown"), "refused");
  assert.equal(await found("reason=rule%20says"), "refused");
  assert.equal(await found("version=TLSv1.2"), "open");
  assert.equal(await found("since=9001"), "open");
  assert.equal(await found("until=1970-01-01T00:00:09.001Z"), "refused");
  assert.equal(await found("fault=expired"), "");
});

test("Trouble and top look at the sessions of a span of time", async () => {
  const client = { address: "203.0.113.5", port: 4_000 };
  const start = Date.now() - 3_600_000;
  operations.apply(
    testSession("broke", start, { listener: "spans", client, sni: "broken.example" }),
    { id: "broke", end: start + 5, outcome: "serverFailed", cause: "internal_error", blame: "server" },
    testSession("works", start + 1, { listener: "spans", client, sni: "works.example" }),
  );
  const { troubles } = (await ask("/api/v1/trouble?listener=spans")).json();
  assert.deepEqual(
    troubles.map(({ host, sessions, example }: TroubleRow) => [host, sessions, example]),
    [["broken.example", 1, "broke"]],
  );
  assert.deepEqual((await ask(`/api/v1/trouble?listener=spans&since=${start + 1}`)).json().troubles, []);
  const top: TopList = (await ask("/api/v1/top?listener=spans&by=client")).json();
  assert.deepEqual([top.sessions, top.rows[0]?.key, top.rows[0]?.failed], [2, "203.0.113.5", 1]);
});

test("A host with other letters than ASCII is searched for as the A-labels that are on the wire", async () => {
  operations.apply(testSession("umlaut", 4000, { sni: "xn--bcher-kva.example" }));
  const { sessions }: SessionList = (await ask("/api/v1/sessions?host=*.b%C3%BCcher.example")).json();
  assert.equal(sessions.length, 0);
  const exact: SessionList = (await ask("/api/v1/sessions?host=B%C3%BCcher.example")).json();
  assert.equal(exact.sessions[0]?.id, "umlaut");
});

test("One session is shown by its id, live or closed, and an unknown id is not found", async () => {
  operations.apply(testSession("one", 5000), testSession("gone", 5000), { id: "gone", end: 5001, closeReason: "Over" });
  assert.equal((await ask("/api/v1/sessions/one")).json().id, "one");
  assert.equal((await ask("/api/v1/sessions/gone")).json().closeReason, "Over");
  assert.equal((await ask("/api/v1/sessions/none")).status, 404);
});

const BAD: [method: string, path: string, body: unknown, wrong: string][] = [
  ["GET", "/sessions?limit=0", undefined, "limit"],
  ["GET", "/sessions?limit=ten", undefined, "limit"],
  ["GET", "/sessions?state=OPEN", undefined, "state"],
  ["GET", "/sessions?verdict=allow", undefined, "verdict"],
  ["GET", "/sessions?host=a%20b", undefined, "host"],
  ["GET", "/sessions?client=www.example.com", undefined, "client"],
  ["GET", "/sessions?client=10.0.0.0/33", undefined, "client"],
  ["GET", "/fleet/sessions?client=10.0.0", undefined, "client"],
  ["GET", "/events?client=10.0.0", undefined, "client"],
  ["GET", "/sessions?hots=a", undefined, "hots"],
  ["GET", "/sessions?server=10.0.0", undefined, "server"],
  ["GET", "/sessions?outcome=clientFailed,broken", undefined, "outcome"],
  ["GET", "/sessions?cause=because", undefined, "cause"],
  ["GET", "/sessions?blame=me", undefined, "blame"],
  ["GET", "/sessions?fault=old", undefined, "fault"],
  ["GET", "/sessions?version=1.4", undefined, "version"],
  ["GET", "/sessions?communityId=1:short=", undefined, "communityId"],
  ["GET", "/sessions?ja4=t13", undefined, "ja4"],
  ["GET", "/sessions?since=yesterday", undefined, "since"],
  ["GET", "/sessions?since=5&until=5", undefined, "until"],
  ["GET", "/sessions?cursor=5", undefined, "cursor"],
  ["GET", "/events?outcome=", undefined, "outcome"],
  ["GET", "/trouble?limit=0", undefined, "limit"],
  ["GET", "/trouble?since=9&until=3", undefined, "until"],
  ["GET", "/top?by=colour", undefined, "by"],
  ["GET", "/top", undefined, "by"],
  ["GET", "/series?step=15", undefined, "step"],
  ["GET", "/series?names=live,dead", undefined, "names"],
  ["GET", "/series?since=9&until=3", undefined, "until"],
  ["GET", "/explain?client=nowhere", undefined, "client"],
  ["GET", "/explain?server=10.0.0.1", undefined, "server"],
  ["GET", "/explain?server=10.0.0.1:70000", undefined, "server"],
  ["GET", "/explain?server=127.0.0.1:1", undefined, "server"],
  ["GET", "/ca/third/rsa", undefined, "role"],
  ["POST", "/keys", { hosts: [], certificate: "-", key: "-" }, "hosts"],
  ["POST", "/keys", { hosts: ["a"], certificate: "-", key: "no key" }, "key"],
  ["POST", "/keys", "not JSON", ""],
  ["POST", "/policy/preview", { hours: 0 }, "hours"],
  ["POST", "/policy/preview", { hours: 24, lists: { bypass: "x" } }, "lists.bypass"],
  ["POST", "/policy/preview", { hour: 24 }, "hour"],
  ["POST", "/bypasses", { entry: "https://a.example/", for: "1h", comment: "x" }, "entry"],
  ["POST", "/bypasses", { entry: "10.0.0.0/33", for: "1h", comment: "x" }, "entry"],
  ["POST", "/bypasses", { entry: "*", for: "1h", comment: "x" }, "entry"],
  ["POST", "/bypasses", { entry: "a.example", for: "soon", comment: "x" }, "for"],
  ["POST", "/bypasses", { entry: "a.example", for: "0s", comment: "x" }, "for"],
  ["POST", "/bypasses", { entry: "a.example", for: "1000d", comment: "x" }, "for"],
  ["POST", "/bypasses", { entry: "a.example", for: "1h", comment: " " }, "comment"],
  ["POST", "/bypasses", { entry: "a.example", for: "1h", comment: "\u001b[31m" }, "comment"],
  ["POST", "/bypasses", { entry: "a.example", for: "1h" }, "comment"],
];
for (const [method, path, body, wrong] of BAD) {
  test(`${method} ${path} with ${JSON.stringify(body)} is refused and says what is wrong`, async () => {
    const sent = typeof body === "string" ? body : JSON.stringify(body);
    const { status, json } = await ask(`/api/v1${path}`, { method, ...(sent !== undefined && { body: sent }) });
    assert.equal(status, 400);
    assert.equal(json().path ?? "", wrong);
    assert.ok(json().error.length > 5);
  });
}

test("An error about a request names the field, the value and what is expected", async () => {
  const said = async (path: string) => (await ask(`/api/v1${path}`)).json().error;
  assert.equal(await said("/sessions?limit=0"), 'limit is "0", below 1');
  assert.equal(await said("/sessions?limit=ten"), 'limit is "ten", not a number');
  assert.equal(
    await said("/sessions?state=OPEN"),
    'state is "OPEN", not a state such as EST:EST:INIT:INIT, nor the beginning of one',
  );
  assert.equal(await said("/sessions?verdict=no"), 'verdict is "no", not one of decrypt, bypass, drop, none');
  assert.equal(await said("/sessions?hots=a"), "hots is not known; did you mean host?");
  assert.equal(await said("/explain?client=::g"), 'client is "::g", not an IPv4 or IPv6 address');
});

test("A full disk is no mistake of the caller, who is told of it", async () => {
  const body = JSON.stringify({ entry: "full.example", for: "1h", comment: "x" });
  const { status, json } = await ask("/api/v1/bypasses", { method: "POST", body });
  assert.deepEqual([status, json().error], [503, "Cannot add a bypass: no space left"]);
});

test("An error about a key does not show the key", async () => {
  for (const [name, value, says] of [
    ["key", "k".repeat(300_000), "key is longer than 262144 characters"],
    ["passphrase", "p".repeat(2000), "passphrase is longer than 1024 characters"],
    ["pkcs12", "not base64", "pkcs12 is not base64"],
    ["certificate", "", "certificate is empty"],
  ] as const) {
    const body = JSON.stringify({ hosts: ["a"], [name]: value });
    assert.equal((await ask("/api/v1/keys", { method: "POST", body })).json().error, says);
  }
});

test("Several errors in one request are answered at once", async () => {
  const body = JSON.stringify({ hosts: ["a"], certificate: "-", key: "no key" });
  const { json } = await ask("/api/v1/keys", { method: "POST", body });
  assert.deepEqual(
    json().errors.map(({ path }: { path: string }) => path),
    ["key", "hosts"],
  );
});

test("A body that is too long is refused before it is read", async () => {
  const body = JSON.stringify({ key: "x".repeat(2_000_000) });
  assert.equal((await ask("/api/v1/keys", { method: "POST", body })).status, 413);
});

test("Keys are added, listed without the key, and removed", async () => {
  const key = "-----BEGIN PRIVATE KEY-----";
  const body = JSON.stringify({ hosts: ["www.example.com"], certificate: "-----BEGIN", key });
  assert.equal((await ask("/api/v1/keys", { method: "POST", body })).status, 201);
  const listed = await ask("/api/v1/keys");
  assert.equal(listed.json()[0].id, "k1");
  assert.doesNotMatch(listed.text, /PRIVATE/);
  assert.equal((await ask("/api/v1/keys/k1", { method: "DELETE" })).status, 204);
  assert.equal((await ask("/api/v1/keys/k1", { method: "DELETE" })).status, 404);
});

test("A CA's certificate is a PEM file to download", async () => {
  const { text, headers } = await ask("/api/v1/ca/primary/ecdsa");
  assert.match(text, /^-----BEGIN/);
  assert.match(headers.get("content-disposition") ?? "", /clearline-primary-ecdsa\.pem/);
  assert.equal((await ask("/api/v1/ca/secondary/rsa")).status, 404);
  assert.equal((await ask("/api/v1/ca/primary/renew", { method: "POST" })).json().length, 2);
});

test("The CA's page and its files need no token, and hold certificates only", async () => {
  const bare = (path: string, method = "GET") => fetch(`${base}${path}`, { method });
  const page = await bare("/ca");
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-security-policy") ?? "", /^default-src 'none'; style-src 'unsafe-inline';/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.match(await page.text(), /AB:AB:AB.*clearline\.mobileconfig/s);
  const pem = await bare("/ca/clearline-ca.pem");
  assert.match(pem.headers.get("content-disposition") ?? "", /attachment; filename="clearline-ca\.pem"/);
  assert.equal((await pem.text()).match(/BEGIN CERTIFICATE/g)?.length, 2);
  const der = await bare("/ca/clearline-ca-rsa.crt");
  assert.deepEqual([...new Uint8Array(await der.arrayBuffer())], [1, 2]);
  for (const path of ["/ca/primary-ecdsa.key", "/ca/..%2ftoken", "/ca/clearline-next-ca-rsa.pem"])
    assert.equal((await bare(path)).status, 404, path);
  assert.equal((await bare("/ca/clearline-ca.pem", "HEAD")).status, 200);
});

test("A CA's life has its routes", async () => {
  const send = async (path: string, method: string) => (await ask(`/api/v1/ca/${path}`, { method })).json();
  assert.equal((await send("primary/next", "POST")).length, 2);
  assert.equal((await send("primary/activate", "POST")).length, 2);
  assert.deepEqual(await send("primary/former", "DELETE"), { keys: 2 });
  assert.deepEqual(await send("secondary/next", "DELETE"), { keys: 0 });
  assert.equal((await ask("/api/v1/ca/primary/all", { method: "DELETE" })).status, 400);
  assert.equal((await ask("/api/v1/ca/primary/rsa?stage=later")).status, 400);
});

test("The other routes of the API answer", async () => {
  const stats: Stats = (await ask("/api/v1/stats")).json();
  assert.equal(stats.history.state, "running");
  assert.ok(stats.counters["proxy"]!.total > 0);
  assert.equal((await ask("/api/v1/explain?host=bank.example")).json().entries[0].truth, true);
  const body = JSON.stringify({ certificatePem: "-----BEGIN CERTIFICATE-----" });
  assert.equal((await ask("/api/v1/explain", { method: "POST", body })).json().verdict.action, "decrypt");
  const policy = (await ask("/api/v1/policy")).json();
  assert.deepEqual([policy.order[0].group, policy.order[0].hits], ["bypass list", { hour: 1, day: 2 }]);
  assert.deepEqual((await ask("/api/v1/lists?find=a.example")).json().lists[0].matches, ["*.a.example"]);
  assert.equal((await ask("/api/v1/lists?find=")).status, 400);
  const doctor = (await ask("/api/v1/doctor")).json();
  assert.deepEqual([doctor.status, doctor.checks.length], ["warning", 2]);
  assert.deepEqual((await ask("/api/v1/reload", { method: "POST" })).json().changes, ['Listener "web" was added']);
  assert.equal((await ask("/api/v1/caches")).json()[0].name, "mint");
  assert.equal((await ask("/api/v1/caches", { method: "DELETE" })).status, 204);
  assert.equal((await ask("/api/v1/caches/none", { method: "DELETE" })).status, 404);
});

test("An internal error is answered without details, which go to the log", async () => {
  const broken = { ...operations, caches: () => Promise.reject(new Error("secret state")) };
  const other = await startControl(broken, { host: "127.0.0.1", port: 0, tokenFile, log });
  const answer = await fetch(`http://127.0.0.1:${other.address.port}/api/v1/caches`, {
    headers: { authorization: `Bearer ${token}` },
  });
  await other.close();
  assert.equal(answer.status, 500);
  assert.doesNotMatch(await answer.text(), /secret state/);
  assert.match(logged.join("\n"), /GET \/api\/v1\/caches.*secret state/);
});

test("The API describes itself, and its page loads nothing from elsewhere", async () => {
  const document = (await ask("/api/v1/openapi.json", { headers: { authorization: "" } })).json();
  assert.ok(document.paths["/api/v1/sessions"].get.responses["200"].content["application/json"].schema);
  const page = await ask("/api/v1/docs", { headers: { authorization: "" } });
  const links = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
  assert.ok(links.length > 3);
  for (const link of links) {
    assert.match(link, /^\/api\/v1\/docs\//);
    assert.equal((await ask(link, { headers: { authorization: "" } })).status, 200);
  }
});

test("What the view answers is passed on as it comes, and what it refuses is a 404", async () => {
  const told = async (path: string) => (await ask(`/api/v1/${path}`)).json();
  assert.deepEqual(await told("transactions?host=a.example&limit=3"), {
    of: "transactions",
    host: "a.example",
    limit: 3,
  });
  assert.deepEqual(await told("sessions/held/transactions"), { of: "transactions", session: "held", limit: 100 });
  assert.deepEqual(await told("sessions/held/har?bodies=true"), { of: "har", session: "held", bodies: true });
  assert.deepEqual(await told("har"), { of: "har", bodies: false });
  const pcap = await ask("/api/v1/sessions/held/pcap");
  assert.equal(pcap.headers.get("content-type"), "application/x-pcapng");
  const follow = await ask("/api/v1/sessions/held/follow");
  assert.match(follow.text, /^event: part\ndata: {.*"follow".*}\n\nevent: end\n/);
  for (const path of ["transactions", "har", "pcap", "follow"])
    assert.equal((await ask(`/api/v1/sessions/gone/${path}`)).status, 404, path);
});

test("A linter finds nothing to say about the OpenAPI document", async () => {
  const answer = await ask("/api/v1/openapi.json", { headers: { authorization: "" } });
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lintFromString({ source: answer.text, absoluteRef: "/openapi.json", config });
  const told = problems.map(({ severity, ruleId, message, location: [place] }) => [
    severity,
    ruleId,
    message,
    place?.pointer,
  ]);
  assert.deepEqual(told, []);
});

test("Each operation says who may use it, and every way in which it can fail", async () => {
  const { paths } = (await ask("/api/v1/openapi.json", { headers: { authorization: "" } })).json();
  const { post } = paths["/api/v1/keys"];
  assert.deepEqual(Object.keys(post.responses), ["201", "400", "401", "403", "413", "415", "429", "500", "503"]);
  assert.match(post.description, /^Needs the role administrator\. The audit log records it as "keys add"\.$/);
  assert.ok("text/plain" in paths["/metrics"].get.responses["200"].content);
  assert.ok("application/x-pem-file" in paths["/api/v1/ca/{role}/{which}"].get.responses["200"].content);
  assert.deepEqual(Object.keys(paths["/api/v1/health"].get.responses), ["200", "403", "500", "503"]);
  const ids = Object.values(paths as Record<string, Record<string, { operationId: string }>>).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  assert.equal(new Set(ids).size, ids.length);
});

test("The OpenAPI document says what a field means, and in which unit", async () => {
  const { paths, components } = (await ask("/api/v1/openapi.json", { headers: { authorization: "" } })).json();
  const answerOf = (path: string, type = "application/json") => {
    const { $ref } = paths[`/api/v1${path}`].get.responses["200"].content[type].schema;
    return components.schemas[$ref.split("/").at(-1)].properties;
  };
  const { worker, start, feeds } = answerOf("/sessions/{id}");
  assert.match(start.description, /ms since the epoch/);
  assert.match(feeds.description, /copy of the plaintext/);
  assert.equal(worker.type, "integer");
  assert.match(answerOf("/stats").workers.items.properties.memory.description, /bytes/);
  assert.match(answerOf("/events", "text/event-stream").dropped.description, /reads too slowly/);
  const [host] = paths["/api/v1/explain"].get.parameters;
  assert.match(host.description, /SNI or CONNECT host/);
});

test("How late each process does things is in the figures and in the metrics", async () => {
  const stats: Stats = (await ask("/api/v1/stats")).json();
  assert.deepEqual([stats.supervisor.delay?.max, stats.workers[0]!.delay], [20, undefined]);
  const { text } = await ask("/metrics");
  assert.match(text, /^clearline_loop_delay_seconds\{process="supervisor",stat="p99"\} 0\.0015$/m);
  assert.doesNotMatch(text, /process="worker 0"/);
});

test("Metrics count ended sessions by listener, verdict and phase", async () => {
  operations.apply(testSession("m", 1, { listener: "m", verdict: "bypass", phase: "sni" }), { id: "m", end: 2 });
  const { text } = await ask("/metrics");
  assert.match(text, /clearline_sessions_total\{listener="m",verdict="bypass",phase="sni"\} 1\n/);
  assert.match(text, /clearline_feed_running\{feed="archive",kind="pcapng"\} 1\n/);
  assert.match(text, /clearline_feed_dropped_packets_total\{feed="archive",kind="pcapng"\} 2\n/);
  assert.match(text, /clearline_worker_cpu_seconds_total\{worker="0"\} 1.5\n/);
  assert.match(text, /process_cpu_seconds_total/);
  assert.equal((await ask("/metrics")).text.match(/clearline_certificates_minted_total \d+/)?.[0].slice(-1), "3");
});

test("The shared store is in the metrics only when there is one", async () => {
  assert.doesNotMatch((await ask("/metrics")).text, /clearline_store/);
  const store = { state: "alone", reason: "Connection refused", failures: 4 } as const;
  const statistics = async () => ({ ...(await operations.statistics()), store });
  const other = await startControl({ ...operations, statistics }, { host: "127.0.0.1", port: 0, tokenFile, log });
  const answer = await fetch(`http://127.0.0.1:${other.address.port}/metrics`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const text = await answer.text();
  await other.close();
  assert.match(text, /clearline_store_connected 0\n/);
  assert.match(text, /clearline_store_failures_total 4\n/);
});

test("Events carry what changed, each session in its latest form only", async () => {
  const answer = await fetch(`${base}/api/v1/events`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(answer.headers.get("content-type"), "text/event-stream");
  operations.apply(testSession("e1", 1), { id: "e1", sni: "first.example" }, testSession("e2", 1));
  operations.apply({ id: "e1", sni: "last.example" }, { id: "e2", end: 2 });
  const events = await firstEvent(answer);
  assert.deepEqual(
    events.live.map(({ id, sni }) => [id, sni]),
    [["e1", "last.example"]],
  );
  assert.deepEqual(
    events.closed.map(({ id }) => id),
    ["e2"],
  );
  assert.equal(events.dropped, 0);
});

test("A client that comes back gets what it has missed; one that comes from another run is told to fetch the list", async () => {
  const headers = { authorization: `Bearer ${token}` };
  const first = await fetch(`${base}/api/v1/events`, { headers });
  operations.apply(testSession("m1", 1), testSession("m2", 1));
  const { id } = await firstEvent(first);
  operations.apply({ id: "m2", end: 2 }, testSession("m3", 3));
  const again = await fetch(`${base}/api/v1/events`, { headers: { ...headers, "last-event-id": id } });
  const { live, closed, dropped } = await firstEvent(again);
  assert.deepEqual([live.map((one) => one.id), closed.map((one) => one.id), dropped], [["m3"], ["m2"], 0]);
  for (const strange of ["zz-1", `${id}999`, "x".repeat(64)]) {
    const answer = await fetch(`${base}/api/v1/events`, { headers: { ...headers, "last-event-id": strange } });
    assert.equal((await firstEvent(answer)).dropped, 1);
  }
});

test("A client that leaves before it has got all that it missed gets the rest when it comes back", async () => {
  const headers = { authorization: `Bearer ${token}` };
  const follow = (id: string) => fetch(`${base}/api/v1/events`, { headers: { ...headers, "last-event-id": id } });
  const first = await fetch(`${base}/api/v1/events`, { headers });
  operations.apply(testSession("r0", 1));
  const { id } = await firstEvent(first);
  const names = Array.from({ length: 250 }, (_, index) => `r${index + 1}`);
  operations.apply(...names.map((name) => testSession(name, 1)));
  const part = await firstEvent(await follow(id));
  operations.apply(testSession("after", 1));
  const got = part.live.map((session) => session.id);
  assert.ok(got.length < names.length);
  for await (const { live } of eventsOf(await follow(part.id))) {
    got.push(...live.map((session) => session.id));
    if (got.includes("after")) break;
  }
  assert.deepEqual(new Set(got), new Set([...names, "after"]));
});

test("The last lines of the log are shown by level, and new ones are followed from where a client left", async () => {
  for (const level of ["info", "warn", "error"] as const) operations.write(level, `a line of level ${level}`);
  const messages = async (query: string) => {
    const { lines } = (await ask(`/api/v1/log${query}`)).json() as LogList;
    return lines.map(({ message }) => message.split(" ").at(-1));
  };
  assert.deepEqual(await messages("?lines=2"), ["warn", "error"]);
  assert.deepEqual(await messages("?level=error"), ["error"]);
  assert.equal((await ask("/api/v1/log?lines=1001")).status, 400);
  const run = operations.startedAt.toString(36);
  const headers = { authorization: `Bearer ${token}`, "last-event-id": `${run}-1` };
  const { port } = control.address;
  const stream = request({ host: "127.0.0.1", port, path: "/api/v1/log/events?level=warn", headers }).end();
  const [answer]: IncomingMessage[] = await once(stream, "response");
  let text = "";
  for await (const piece of answer!.setEncoding("utf8")) {
    text += piece;
    if (text.includes("data: ")) break;
  }
  stream.destroy();
  assert.match(text, new RegExp(`id: ${run}-3\nevent: lines\n`));
  assert.match(text, /level warn.*level error.*"dropped":0/);
});

test("Previews that wait are bounded, because each holds its lists", async () => {
  const { promise, resolve } = Promise.withResolvers<object>();
  const { previewPolicy } = operations;
  Object.assign(operations, { previewPolicy: () => promise });
  const preview = () => ask("/api/v1/policy/preview", { method: "POST", body: JSON.stringify({ hours: 1 }) });
  const all = [1, 2, 3, 4, 5].map(preview);
  assert.equal((await Promise.race(all)).status, 503);
  resolve({});
  await Promise.all(all);
  assert.equal((await preview()).status, 200);
  Object.assign(operations, { previewPolicy });
});

test("A live session is ended by its ID, once", async () => {
  operations.apply(testSession("end1", 1));
  const end = () => ask("/api/v1/sessions/end1", { method: "DELETE" });
  assert.equal((await end()).status, 204);
  operations.apply({ id: "end1", end: 2 });
  const again = await end();
  assert.deepEqual([again.status, /no live session/.test(again.text)], [404, true]);
});

async function firstEvent(answer: Response): Promise<SessionEvents & { id: string }> {
  for await (const event of eventsOf(answer)) return event;
  throw new Error("The stream ended without an event");
}

async function* eventsOf(answer: Response): AsyncGenerator<SessionEvents & { id: string }> {
  let text = "";
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const events = text.split("\n\n");
    text = events.pop()!;
    for (const event of events) {
      const [, id, data] = /^id: (.*)\nevent: sessions\ndata: (.*)$/m.exec(event) ?? [];
      if (id && data) yield { ...JSON.parse(data), id };
    }
  }
}

test("Closing the server ends the streams of events, and forgets their listeners", async () => {
  let listeners = 0;
  const counted = {
    ...operations,
    subscribe(listener: Parameters<typeof operations.subscribe>[0]) {
      const stop = operations.subscribe(listener);
      listeners += 1;
      return () => {
        listeners -= 1;
        stop();
      };
    },
  };
  const other = await startControl(counted, { host: "127.0.0.1", port: 0, tokenFile, log });
  const answer = await fetch(`http://127.0.0.1:${other.address.port}/api/v1/events`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(listeners, 2);
  await other.close();
  await answer.text().catch(() => undefined);
  assert.equal(listeners, 0);
});

test("A port in use is a configuration error in one line", async () => {
  const { port } = control.address;
  const start = startControl(createTestOperations(), { host: "127.0.0.1", port, tokenFile, log });
  await assert.rejects(start, {
    name: "ConfigError",
    path: "console.address",
    message: `Cannot serve the console on 127.0.0.1:${port} (console.address): something else listens there already`,
  });
});

test("Bytes that are not HTTP are answered with 400, and the server goes on", async () => {
  const socket = connect(control.address.port, "127.0.0.1");
  socket.end("\x16\x03\x01\x02\x00garbage");
  const chunks = await Array.fromAsync(socket.setEncoding("latin1"));
  assert.match(chunks.join(""), /^HTTP\/1\.1 400 /);
  assert.equal((await ask("/api/v1/health")).status, 200);
});

test("What a request changes is in the audit log, with caller, subject, outcome and address", async () => {
  await ask("/api/v1/caches/none", { method: "DELETE" });
  await ask("/api/v1/ca/primary/renew", { method: "POST" });
  await ask("/api/v1/reload", { method: "POST" });
  const key = "-----BEGIN PRIVATE KEY-----";
  const body = JSON.stringify({ hosts: ["a.example", "b.example"], certificate: "-----BEGIN", key });
  await ask("/api/v1/keys", { method: "POST", body });
  await ask("/api/v1/keys", { method: "POST", body: body.replace("hosts", "hoots") });
  const { entries }: AuditList = (await ask("/api/v1/audit?limit=4")).json();
  assert.deepEqual(
    entries.map(({ who, address, action, subject, outcome, detail }) => [
      who,
      address,
      action,
      subject,
      outcome,
      detail,
    ]),
    [
      ["owner", "127.0.0.1", "keys add", "a.example b.example", "done", null],
      ["owner", "127.0.0.1", "reload", null, "done", 'Listener "web" was added'],
      ["owner", "127.0.0.1", "ca renew", "primary", "done", null],
      [
        "owner",
        "127.0.0.1",
        "cache flush",
        "none",
        "failed",
        "Cannot flush cache none: the node has no cache of this name",
      ],
    ],
  );
  assert.ok((await ask("/api/v1/audit?limit=1")).json().more);
  assert.equal((await ask("/api/v1/audit?action=ca&limit=1")).json().entries[0].action, "ca renew");
  assert.equal((await ask("/api/v1/audit?action=c")).json().error, 'action is "c", not an audited action');
});

test("A change that cannot be recorded is refused, and reading goes on", async () => {
  const audit = openAudit({ file: join(folder, "none", "\0"), disk, keepAge: 1, keepEntries: 1, log: QUIET });
  let renewed = false;
  const renewAuthority = async () => {
    renewed = true;
    return [];
  };
  const own = { ...operations, audit, renewAuthority };
  const other = await startControl(own, { host: "127.0.0.1", port: 0, tokenFile, log });
  const send = (path: string, method: string) =>
    fetch(`http://127.0.0.1:${other.address.port}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
    });
  const refused = await send("/ca/primary/renew", "POST");
  assert.match(await refused.text(), /^\{"error":"Cannot do \\"ca renew\\": the audit log .* Nothing was changed/);
  assert.deepEqual([refused.status, renewed, (await send("/stats", "GET")).status], [503, false, 200]);
  await other.close();
});

test("What is on record only after its client has left is not done, and the entry ends", async () => {
  const gone = Promise.withResolvers<void>();
  const onRequest = (message: unknown) =>
    (message as { response: ServerResponse }).response.once("close", () => gone.resolve());
  let flushed = false;
  const own = {
    ...operations,
    audit: {
      ...operations.audit,
      async begin(step: AuditedStep) {
        const number = await operations.audit.begin(step);
        client.destroy();
        await gone.promise;
        return number;
      },
    },
    flushCaches: async () => (flushed = true),
  };
  const other = await startControl(own, { host: "127.0.0.1", port: 0, tokenFile, log });
  subscribe("http.server.request.start", onRequest);
  const { port } = other.address;
  const headers = { authorization: `Bearer ${token}` };
  const client = request({ host: "127.0.0.1", port, path: "/api/v1/caches", method: "DELETE", headers });
  client.on("error", () => {}).end();
  await gone.promise;
  await other.close();
  unsubscribe("http.server.request.start", onRequest);
  const entry = await until("the end of the entry", async () => {
    const [last] = await operations.audit.search({}, 1);
    return last?.action === "cache flush" && last.outcome !== "begun" && last;
  });
  assert.match(entry.detail ?? "", /^Cannot do "cache flush": the client left before/);
  assert.deepEqual([entry.outcome, flushed], ["failed", false]);
});

test("Of a session that is not found, the error says when the history has stopped", async () => {
  const info = () => ({ state: "stopped", reason: "the disk has not answered for 10 s", sessions: 0 }) as const;
  const own = { ...operations, history: { ...operations.history, info } };
  const other = await startControl(own, { host: "127.0.0.1", port: 0, tokenFile, log });
  const answer = await fetch(`http://127.0.0.1:${other.address.port}/api/v1/sessions/none`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(answer.status, 404);
  assert.match(await answer.text(), /nor in the history, which has stopped: the disk has not answered for 10 s/);
  await other.close();
});
