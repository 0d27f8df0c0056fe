import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type RequestOptions, request } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { make } from "../pki/x509/test-chain.ts";
import type { ApiError, AuditList, ShownToken, TokenInfo } from "./api.ts";
import { ANYONE, OWNER } from "./caller.ts";
import { type Control, startControl } from "./server.ts";
import { createTestOperations, QUIET } from "./test-operations.ts";
import { openTokens } from "./tokens.ts";
import { Tries } from "./tries.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-access-"));
const operations = createTestOperations();
const warnings: string[] = [];
const log = { ...QUIET, warn: (text: string) => warnings.push(text) };
const tokenFile = join(folder, "token");
const tokensFile = join(folder, "tokens.json");
const control = await startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log });
const owner = readFileSync(tokenFile, "utf8").trim();
const base = `http://127.0.0.1:${control.address.port}/api/v1`;

after(async () => {
  await control.close();
  await operations.history.close();
  rmSync(folder, { recursive: true });
});

function send(path: string, token: string, method = "GET", body?: unknown) {
  const headers = {
    authorization: `Bearer ${token}`,
    ...(body !== undefined && { "content-type": "application/json" }),
  };
  return fetch(base + path, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

async function bodyOf<Body>(answer: Promise<Response> | Response): Promise<Body> {
  return (await (await answer).json()) as Body;
}

async function add(name: string, role: string): Promise<ShownToken> {
  const answer = await send("/tokens", owner, "POST", { name, role });
  assert.equal(answer.status, 201);
  return (await answer.json()) as ShownToken;
}

test("A token works at once, as far as its role goes, and no longer once it is removed", async () => {
  const viewer = (await add("wall", "viewer")).token;
  const operator = (await add("night", "operator")).token;
  const statuses = async (token: string) => {
    const answers = [
      send("/sessions", token),
      send("/caches", token, "DELETE"),
      send("/reload", token, "POST"),
      send("/ca/primary/renew", token, "POST"),
      send("/tokens", token),
      send("/tokens", token, "POST", { name: "mine", role: "administrator" }),
      send("/audit", token),
    ];
    return (await Promise.all(answers)).map(({ status }) => status);
  };
  assert.deepEqual(await statuses(viewer), [200, 403, 403, 403, 403, 403, 403]);
  assert.deepEqual(await statuses(operator), [200, 204, 200, 403, 403, 403, 403]);
  const { error, path } = await bodyOf<ApiError>(send("/caches", viewer, "DELETE"));
  const why = "it needs the role operator, and the token wall has the role viewer";
  assert.deepEqual([error, path], [`Cannot DELETE /api/v1/caches: ${why}`, "authorization"]);
  assert.equal((await send("/tokens/wall", owner, "DELETE")).status, 204);
  assert.deepEqual(await statuses(viewer), [401, 401, 401, 401, 401, 401, 401]);
  assert.equal((await send("/tokens/wall", owner, "DELETE")).status, 404);
});

test("A stream of events ends when its token is removed", async () => {
  const { token } = await add("stream", "viewer");
  const events = await send("/events", token);
  const reader = events.body!.getReader();
  await reader.read();
  const ended = reader.read().then(
    ({ done }) => done,
    () => true,
  );
  await send("/tokens/stream", owner, "DELETE");
  assert.equal(await ended, true);
});

test("The audit log has who made a token, and what was refused, and never the token", async () => {
  const { token } = await add("seen", "viewer");
  await send("/caches/mint", token, "DELETE");
  await send("/tokens/seen", owner, "DELETE");
  const answer = await (await send("/audit?limit=3", owner)).text();
  const { entries }: AuditList = JSON.parse(answer);
  assert.deepEqual(
    entries.map(({ who, action, subject, outcome, detail }) => [who, action, subject, outcome, detail]),
    [
      ["owner", "token remove", "seen", "done", null],
      ["seen", "cache flush", "mint", "refused", "The role viewer does not allow it"],
      ["owner", "token add", "seen (viewer)", "done", null],
    ],
  );
  for (const text of [answer, readFileSync(tokensFile, "utf8"), await (await send("/tokens", owner)).text()])
    assert.ok(!text.includes(token.slice(10)));
});

test("A caller who is refused again and again fills the audit log only so far", async () => {
  const { token } = await add("stubborn", "viewer");
  for (let index = 0; index < 40; index++) assert.equal((await send("/caches", token, "DELETE")).status, 403);
  const { entries } = await bodyOf<AuditList>(send("/audit?who=stubborn&limit=100", owner));
  assert.equal(entries.length, 30);
});

test("The file of the tokens is the node's own, and holds them over a restart", async () => {
  assert.equal(statSync(tokensFile).mode & 0o777, 0o600);
  const { token } = await add("stays", "operator");
  const tokens = await openTokens(tokensFile, owner, () => {});
  assert.deepEqual(tokens.find(token), { name: "stays", role: "operator" });
  assert.deepEqual([tokens.find(owner), tokens.find(`${token}x`), tokens.find("")], [OWNER, undefined, undefined]);
});

test("A token expires, and says so", async () => {
  let now = 1_000_000;
  const file = join(folder, "expiring.json");
  const tokens = await openTokens(
    file,
    owner,
    () => {},
    () => now,
  );
  const { token, info } = await tokens.add({ name: "short", role: "viewer", validSeconds: 60 }, ANYONE);
  assert.deepEqual([info.until, info.by, tokens.isGood("short")], [1_060_000, "anyone", true]);
  now += 59_999;
  assert.equal((tokens.find(token) as { name: string }).name, "short");
  now += 1;
  assert.deepEqual([tokens.find(token), tokens.isGood("short")], ["expired", false]);
});

for (const [wanted, says] of [
  [{ name: "a b", role: "viewer" }, /^name is "a b", not 1 to 64 letters/],
  [{ name: "\x1b[31mred", role: "viewer" }, /^name is/],
  [{ name: "../../etc", role: "viewer" }, /^name is/],
  [{ name: "x".repeat(65), role: "viewer" }, /^name is/],
  [{ name: "Owner", role: "viewer" }, /^Cannot add the token Owner: the audit log has this name/],
  [{ name: "sighup", role: "viewer" }, /^Cannot add the token sighup/],
  [{ name: "root", role: "root" }, /^role is "root", not one of viewer, operator, administrator/],
  [{ name: "root" }, /^role is missing/],
  [{ name: "a", role: "viewer", validSeconds: 1 }, /^validSeconds is 1, below 60/],
  [{ name: "a", role: "viewer", rule: 1 }, /^rule is not known; did you mean role/],
] as const) {
  test(`A token with ${JSON.stringify(wanted)} is refused`, async () => {
    const before = await bodyOf<TokenInfo[]>(send("/tokens", owner));
    const answer = await send("/tokens", owner, "POST", wanted);
    assert.match((await bodyOf<ApiError>(answer)).error, says);
    assert.equal(answer.status, 400);
    assert.deepEqual(await bodyOf(send("/tokens", owner)), before);
  });
}

test("A second token of a name is refused, also when both are asked for at once", async () => {
  const wanted = { name: "twin", role: "viewer" };
  const answers = await Promise.all([1, 2, 3].map(() => send("/tokens", owner, "POST", wanted)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [201, 400, 400]);
});

test("A file of tokens that is damaged is a configuration error, and stays", async () => {
  const file = join(folder, "damaged.json");
  for (const text of ["", "{", '{"tokens":[{"name":"a"}]}', "[]", "null"]) {
    writeFileSync(file, text, { mode: 0o600 });
    await assert.rejects(
      openTokens(file, owner, () => {}),
      /Cannot use the tokens in .*damaged\.json/,
    );
    assert.equal(readFileSync(file, "utf8"), text);
  }
});

test("Wrong tokens are answered with 429 after some tries, while the right one is still good on this machine", async () => {
  const statuses: number[] = [];
  for (let index = 0; index < 25; index++) statuses.push((await send("/stats", `wrong${index}`)).status);
  assert.deepEqual([statuses[0], statuses.at(-1)], [401, 429]);
  const refused = await send("/stats", "wrong");
  assert.ok(Number(refused.headers.get("retry-after")) > 0);
  assert.equal(warnings.filter((text) => /wrong tokens came from loopback/.test(text)).length, 1);
  assert.equal((await send("/stats", owner)).status, 200);
  assert.equal((await fetch(`${base}/health`)).status, 200);
});

test("Tries are counted by peer, and come back", () => {
  const tries = new Tries({ tries: 2, within: 100 });
  assert.deepEqual([tries.fail("a", 0), tries.fail("a", 10), tries.fail("a", 20)], [false, true, false]);
  assert.deepEqual([tries.waits("a", 20), tries.waits("b", 20), tries.waits("a", 100)], [80, 0, 0]);
  for (let index = 0; index < 20_000; index++) tries.fail(`${index}`, 100);
  tries.fail("19999", 101);
  assert.deepEqual([tries.waits("0", 101), tries.waits("19999", 101)], [0, 99]);
});

test("Hostile Authorization headers and bodies get an answer, and nothing else happens", async () => {
  for (const authorization of [
    "Bearer",
    "Bearer ",
    `Bearer ${"x".repeat(8000)}`,
    "Basic b3duZXI6",
    `bearer  ${owner}`,
  ]) {
    const { status } = await fetch(`${base}/stats`, { headers: { authorization } });
    assert.equal(status, 401, authorization.slice(0, 20));
  }
  const cases: [string, string, string, number][] = [
    ["text/plain", "POST", "hello", 415],
    ["application/xml", "POST", "<a/>", 415],
    ["application/json", "POST", "{", 400],
    ["application/json", "POST", "null", 400],
    ["application/json", "POST", `{"name":"${"x".repeat(2_000_000)}"}`, 413],
    ["application/json", "POST", '{"__proto__":{"role":"administrator"}}', 400],
    ["application/json", "PUT", "{}", 404],
    ["application/json", "PATCH", "{}", 404],
  ];
  for (const [type, method, body, expected] of cases) {
    const headers = { authorization: `Bearer ${owner}`, "content-type": type };
    const answer = await fetch(`${base}/tokens`, { method, headers, body });
    assert.deepEqual(
      [answer.status, typeof (await bodyOf<ApiError>(answer)).error],
      [expected, "string"],
      `${method} ${type}`,
    );
  }
});

describe("Over TLS", () => {
  const own = createTestOperations();
  let secure: Control;
  const identity = async () => {
    const { pem, keyPem } = await make({ names: [["dns", "node.example"]] });
    return { certificatePem: pem, keyPem };
  };

  before(async () => {
    secure = await startControl(own, { host: "127.0.0.1", port: 0, tokenFile, log, certificate: await identity() });
  });
  after(async () => {
    await secure.close();
    await own.history.close();
  });

  const ask = (options: RequestOptions = {}) =>
    new Promise<string>((resolve, reject) => {
      const headers = { authorization: `Bearer ${owner}` };
      const target = {
        host: "127.0.0.1",
        port: secure.address.port,
        path: "/api/v1/caches",
        headers,
        agent: false,
      } as const;
      const wanted = { ...target, ca: secure.address.certificate, servername: "node.example", ...options };
      request(wanted, async (answer) => resolve((await Array.fromAsync(answer.setEncoding("utf8"))).join("")))
        .on("error", reject)
        .end();
    });

  test("the API answers those who verify its certificate, and a changed one is shown at once", async () => {
    assert.match(await ask(), /"mint"/);
    await assert.rejects(ask({ servername: "other.example" }), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
    const before = secure.address.certificate;
    secure.changeCertificate(await identity());
    assert.match(await ask(), /"mint"/);
    await assert.rejects(ask({ ca: before }), /certificate/);
  });

  test("plain HTTP, TLS 1.1 and half handshakes get nothing, and keep nobody out", async () => {
    await assert.rejects(fetch(`http://127.0.0.1:${secure.address.port}/api/v1/health`));
    await assert.rejects(ask({ maxVersion: "TLSv1.1", minVersion: "TLSv1" }));
    const half = Array.from({ length: 300 }, () => connect(secure.address.port, "127.0.0.1").on("error", () => {}));
    await Promise.all(half.map((socket) => once(socket, "connect")));
    assert.match(await ask(), /"mint"/);
    for (const socket of half) socket.destroy();
  });
});
