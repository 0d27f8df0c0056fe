import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Logins } from "./logins.ts";
import { startControl } from "./server.ts";
import { createTestOperations, QUIET } from "./test-operations.ts";

const VIEWER = { name: "wall", role: "viewer" } as const;
const folder = mkdtempSync(join(tmpdir(), "clearline-logins-"));
const consoleFolder = join(folder, "console");
mkdirSync(join(consoleFolder, "assets"), { recursive: true });
writeFileSync(join(consoleFolder, "index.html"), "<!doctype html><title>Clearline</title>");
writeFileSync(join(consoleFolder, "assets/index-1.js"), "export {};".repeat(100));
const operations = createTestOperations();
const tokenFile = join(folder, "token");
const options = { host: "127.0.0.1", port: 0, tokenFile, consoleFolder, log: QUIET };
const control = await startControl(operations, options);
const owner = readFileSync(tokenFile, "utf8").trim();
const origin = `http://127.0.0.1:${control.address.port}`;

after(async () => {
  await control.close();
  await operations.history.close();
  rmSync(folder, { recursive: true });
});

interface Sent {
  readonly method?: string;
  readonly cookie?: string;
  readonly csrf?: string;
  readonly token?: string;
  readonly body?: unknown;
}

function send(path: string, { method = "GET", cookie, csrf, token, body }: Sent = {}): Promise<Response> {
  const headers = {
    ...(cookie !== undefined && { cookie }),
    ...(csrf !== undefined && { "x-csrf-token": csrf }),
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && { "content-type": "application/json" }),
  };
  return fetch(`${origin}/api/v1${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

async function logIn(token: string) {
  const answer = await send("/login", { method: "POST", token });
  assert.equal(answer.status, 201);
  const cookie = answer.headers.get("set-cookie")!;
  const { csrf } = (await answer.json()) as { csrf: string };
  return { cookie: cookie.split(";")[0]!, attributes: cookie, csrf };
}

test("A token is exchanged for a cookie that no script can read and no other site can send", async () => {
  const { cookie, attributes, csrf } = await logIn(owner);
  assert.match(attributes, /^clearline=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.ok(!attributes.includes(owner) && csrf.length >= 43);
  const state = (await (await send("/login", { cookie })).json()) as Record<string, unknown>;
  assert.deepEqual([state["name"], state["role"], state["csrf"]], ["owner", "administrator", csrf]);
  assert.equal((await send("/sessions", { cookie: `other=1; ${cookie}; more=2` })).status, 200);
});

test("With a cookie, what changes something needs the CSRF token too", async () => {
  const { cookie, csrf } = await logIn(owner);
  for (const wrong of [undefined, "", "x", `${csrf}x`, csrf.slice(1)]) {
    const answer = await send("/reload", { method: "POST", cookie, ...(wrong !== undefined && { csrf: wrong }) });
    assert.deepEqual([answer.status, /x-csrf-token/.test(await answer.text())], [403, true]);
  }
  assert.equal((await send("/reload", { method: "POST", cookie, csrf })).status, 200);
});

test("Nobody who has no log-in is told more than that", async () => {
  assert.equal(await (await send("/login")).json(), null);
  for (const cookie of ["clearline=", `clearline=${"a".repeat(43)}`, "clearline=../../etc", "=", ";;;"]) {
    assert.equal(await (await send("/login", { cookie })).json(), null);
    assert.equal((await send("/sessions", { cookie })).status, 401);
  }
  assert.equal((await send("/login", { method: "POST", token: "wrong".repeat(9) })).status, 401);
});

test("A log-in ends when its user logs out, and when its token is withdrawn", async () => {
  const { cookie, csrf } = await logIn(owner);
  const left = await send("/login", { method: "DELETE", cookie, csrf });
  assert.deepEqual([left.status, /Max-Age=0/.test(left.headers.get("set-cookie")!)], [204, true]);
  assert.equal((await send("/sessions", { cookie })).status, 401);
  const made = await send("/tokens", { method: "POST", token: owner, body: { name: "guest", role: "viewer" } });
  const guest = await logIn(((await made.json()) as { token: string }).token);
  assert.equal((await send("/sessions", { cookie: guest.cookie })).status, 200);
  const more = await send("/caches", { method: "DELETE", cookie: guest.cookie, csrf: guest.csrf });
  assert.equal(more.status, 403, "the role is the token's");
  await send("/tokens/guest", { method: "DELETE", token: owner });
  await send("/tokens", { method: "POST", token: owner, body: { name: "guest", role: "administrator" } });
  assert.equal((await send("/sessions", { cookie: guest.cookie })).status, 401);
});

test("A stream ends when the log-in that it was opened with does, and no other", async () => {
  const [leaving, staying] = [await logIn(owner), await logIn(owner)];
  const [ended, open] = await Promise.all([leaving, staying].map(({ cookie }) => send("/events", { cookie })));
  await send("/login", { method: "DELETE", ...leaving });
  await assert.rejects(ended!.text());
  const { value } = await open!.body!.getReader().read();
  assert.match(Buffer.from(value!).toString(), /^retry/);
});

test("A log-in does not make another one, which would outlive it", async () => {
  const { cookie, csrf } = await logIn(owner);
  const again = await send("/login", { method: "POST", cookie, csrf });
  assert.deepEqual([again.status, again.headers.get("set-cookie")], [201, null]);
});

test("Log-ins end without use, after their longest time, and for newer ones", () => {
  let now = 0;
  const logins = new Logins({ idle: 100, longest: 250, all: 2 }, () => now);
  const cookie = () => `clearline=${logins.open(VIEWER, () => true).value}`;
  const first = cookie();
  for (const time of [99, 198]) {
    now = time;
    assert.equal(logins.find(first)?.caller, VIEWER);
  }
  now = 250;
  assert.equal(logins.find(first), undefined, "the longest time");
  const idle = cookie();
  now = 350;
  assert.equal(logins.find(idle), undefined, "idle");
  assert.equal(logins.find(idle), undefined, "it does not come back");
  const [a, b] = [cookie(), cookie()];
  assert.ok(logins.find(a));
  const c = cookie();
  assert.deepEqual(
    [a, b, c].map((one) => logins.find(one) !== undefined),
    [true, false, true],
  );
  now = 400;
  const user = { name: "oidc:jane", role: "viewer" } as const;
  const { login } = logins.open(user, () => true, 50);
  assert.deepEqual([login.until, logins.isOpen(login)], [450, true], "a limit of its own");
  now = 450;
  assert.equal(logins.isOpen(login), false);
  const withdrawn = `clearline=${logins.open(VIEWER, () => false).value}`;
  assert.equal(logins.find(withdrawn), undefined);
});

test("The console's files need no token, and may load nothing but files of this node", async () => {
  for (const place of ["/", "/policy", "/sessions/0-1"]) {
    const page = await fetch(origin + place);
    assert.deepEqual([page.status, page.headers.get("content-type")], [200, "text/html; charset=utf-8"]);
    const policy = page.headers.get("content-security-policy")!;
    assert.match(policy, /default-src 'none'.*script-src 'self'; style-src 'self'$/);
    assert.doesNotMatch(policy, /unsafe|\*/);
  }
  const script = await fetch(`${origin}/assets/index-1.js`, { headers: { "accept-encoding": "br" } });
  assert.deepEqual([script.headers.get("content-encoding"), (await script.text()).length], ["br", 1000]);
  assert.match(script.headers.get("cache-control")!, /immutable/);
  assert.equal((await fetch(`${origin}/assets/..%2f..%2ftoken`)).status, 401);
});

test("Without a built console the node says how to build it", async () => {
  const bare = await startControl(operations, { ...options, consoleFolder: join(folder, "nothing") });
  try {
    const answer = await fetch(`http://127.0.0.1:${bare.address.port}/`);
    assert.deepEqual([answer.status, /npm run -s console/.test(await answer.text())], [503, true]);
  } finally {
    await bare.close();
  }
});
