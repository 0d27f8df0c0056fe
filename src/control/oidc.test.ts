import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Provider } from "oidc-provider";
import { makeSelfSigned } from "../pki/keys/key-request.ts";
import type { AuditList } from "./api.ts";
import type { OidcOptions } from "./oidc.ts";
import { fetchWith } from "./oidc-fetch.ts";
import { PendingLogins, placeIn } from "./oidc-pending.ts";
import { startControl } from "./server.ts";
import { createTestOperations, QUIET } from "./test-operations.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-oidc-"));
const tokenFile = join(folder, "token");
const operations = createTestOperations();
const warnings: string[] = [];
const log = { ...QUIET, warn: (message: string) => warnings.push(message) };

// The provider, with users whose groups are in their names: jane.night-shift.
const { certificatePem, keyPem } = await makeSelfSigned(
  ["127.0.0.1"],
  "ecdsa",
  Date.now() - 60_000,
  Date.now() + 3_600_000,
);
const id = createServer({ cert: certificatePem, key: keyPem });
await once(id.listen(0, "127.0.0.1"), "listening");
const issuer = `https://127.0.0.1:${(id.address() as AddressInfo).port}`;

const OIDC: OidcOptions = {
  ...{ issuer, clientId: "clearline", clientSecret: "a secret of the client", scopes: ["groups"] },
  ...{ nameClaim: "nick", longest: 3_600_000, roots: () => [certificatePem] },
  roles: { claim: "realm.groups", viewer: ["staff"], operator: ["night-shift"], administrator: [] },
};
const start = (oidc?: OidcOptions) => startControl(operations, { host: "127.0.0.1", port: 0, tokenFile, log, oidc });
const control = await start(OIDC);
const origin = `http://127.0.0.1:${control.address.port}`;
const callback = `${origin}/api/v1/login/oidc/callback`;
const provider = new Provider(issuer, {
  clients: [{ client_id: OIDC.clientId, client_secret: OIDC.clientSecret, redirect_uris: [callback] }],
  claims: { groups: ["nick", "realm"] },
  scopes: ["openid", "groups"],
  cookies: { keys: ["a key of the cookies"] },
  findAccount: (_: unknown, sub: string) => {
    const [nick, ...groups] = sub.split(".");
    return { accountId: sub, claims: () => ({ sub, nick, realm: { groups } }) };
  },
});
id.on("request", provider.callback());

after(async () => {
  await control.close();
  await operations.history.close();
  id.close();
  id.closeAllConnections();
  rmSync(folder, { recursive: true });
});

/** A browser: it follows redirects and keeps cookies, by host. */
class Browser {
  readonly cookies = new Map<string, Map<string, string>>();
  readonly #fetch = fetchWith(() => [certificatePem]);

  async ask(url: string, form?: URLSearchParams): Promise<Response> {
    const { host } = new URL(url);
    const jar = this.cookies.get(host) ?? new Map<string, string>();
    this.cookies.set(host, jar);
    const headers = {
      cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; "),
      ...(form && { "content-type": "application/x-www-form-urlencoded" }),
    };
    const answer = await this.#fetch(url, { method: form ? "POST" : "GET", headers, body: form });
    for (const cookie of answer.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      jar.set(name, value);
    }
    return answer;
  }

  /** Until a page of this node answers, or `stop`. */
  async logIn(user: string, { to = "/", stop = callback }: { readonly to?: string; readonly stop?: string } = {}) {
    let url = `${origin}/api/v1/login/oidc?to=${encodeURIComponent(to)}`;
    for (let hops = 0; hops < 12 && !url.startsWith(stop); hops += 1) {
      let answer = await this.ask(url);
      const prompt = /name="prompt" value="(\w+)"/.exec(await answer.text())?.[1];
      if (prompt) answer = await this.ask(url, new URLSearchParams({ prompt, login: user, password: "any" }));
      const next = answer.headers.get("location");
      assert.ok(next, `${url} was answered ${answer.status}`);
      url = new URL(next, url).href;
    }
    return url;
  }

  async whoAmI() {
    return (await this.ask(`${origin}/api/v1/login`)).json() as Promise<{
      name: string;
      role: string;
      until: number;
    } | null>;
  }
}

async function audited(): Promise<(readonly unknown[])[]> {
  const headers = { authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` };
  const { entries } = (await (await fetch(`${origin}/api/v1/audit?action=log`, { headers })).json()) as AuditList;
  return entries.map(({ who, role, outcome }) => [who, role, outcome]);
}

test("A user of the provider logs in with the highest role of the claim, and goes on to the place that was asked for", async () => {
  const browser = new Browser();
  const back = await browser.logIn("jane.staff.night-shift", { to: "/sessions?verdict=drop" });
  const done = await browser.ask(back);
  assert.deepEqual([done.status, done.headers.get("location")], [302, "/sessions?verdict=drop"]);
  const [, cookie] = done.headers.getSetCookie();
  assert.match(cookie!, /^clearline=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  const login = (await browser.whoAmI())!;
  assert.deepEqual([login.name, login.role], ["oidc:jane", "operator"]);
  assert.ok(login.until <= Date.now() + OIDC.longest);
  assert.equal((await browser.ask(`${origin}/api/v1/stats`)).status, 200);
  const tokens = await browser.ask(`${origin}/api/v1/tokens`);
  assert.equal(tokens.status, 403);
  assert.match(await tokens.text(), /administrator, and oidc:jane has the role operator/);
  assert.deepEqual((await audited())[0], ["oidc:jane", "operator", "done"]);
});

test("A user without a role is refused, and told why", async () => {
  const browser = new Browser();
  const refused = await browser.ask(await browser.logIn("joe.guests"));
  assert.equal(refused.status, 403);
  assert.match(await refused.text(), /joe has no role at this node: the claim realm\.groups is guests/);
  assert.equal(await browser.whoAmI(), null);
  assert.deepEqual((await audited())[0], ["oidc:joe", "viewer", "refused"]);
});

test("Nobody finishes what another browser began, changes the state, or comes twice", async () => {
  const [browser, other] = [new Browser(), new Browser()];
  const back = await browser.logIn("jane.staff");
  assert.equal((await other.ask(back)).status, 400);
  const changed = new URL(back);
  changed.searchParams.set("state", "another");
  const kept = new Map(browser.cookies.get(new URL(origin).host));
  assert.equal((await browser.ask(changed.href)).status, 502);
  browser.cookies.set(new URL(origin).host, kept);
  const again = new Map(kept);
  assert.equal((await browser.ask(back)).status, 302);
  browser.cookies.set(new URL(origin).host, again);
  assert.equal((await browser.ask(back)).status, 502, "the provider gives a code once");
  assert.match(
    warnings.at(-1)!,
    /^A log-in by OpenID Connect failed\. The provider https:.* did not complete the log-in: /,
  );
});

test("What the provider refuses is told to the user", async () => {
  const browser = new Browser();
  const begun = await browser.logIn("", { stop: issuer });
  const query = new URLSearchParams({ error: "access_denied", error_description: "not\u0007 you", iss: issuer });
  query.set("state", new URL(begun).searchParams.get("state")!);
  const refused = await browser.ask(`${callback}?${query}`);
  assert.equal(refused.status, 403);
  assert.match(await refused.text(), /^Cannot log in: The provider refused the log-in: access_denied: not\ufffd you\./);
});

test("A provider that cannot be reached, or whose certificate is not trusted, leaves the log-in by token", async () => {
  for (const [wrong, why] of [
    [{ roots: () => [] }, /The provider https:.* cannot be used: (SELF_SIGNED|UNABLE_TO|DEPTH_ZERO)/],
    [{ issuer: "http://127.0.0.1:9" }, /The provider http:\/\/127\.0\.0\.1:9 cannot be used: ECONNREFUSED/],
  ] as const) {
    const other = await start({ ...OIDC, ...wrong });
    const answer = await fetch(`http://127.0.0.1:${other.address.port}/api/v1/login/oidc`, { redirect: "manual" });
    await other.close();
    assert.equal(answer.status, 502);
    assert.match(await answer.text(), why);
  }
});

test("Pages are told how browsers may log in", async () => {
  const oidc = { path: "/api/v1/login/oidc", issuer };
  assert.deepEqual(await (await fetch(`${origin}/api/v1/login/ways`)).json(), { token: true, oidc });
  const other = await start();
  const ways = await fetch(`http://127.0.0.1:${other.address.port}/api/v1/login/ways`);
  assert.deepEqual(await ways.json(), { token: true, oidc: null });
  await other.close();
});

test("A log-in leads to places of the console only", () => {
  for (const place of ["/", "/sessions?host=a.example#x"]) assert.equal(placeIn(place), place);
  for (const place of [
    undefined,
    "",
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/.//evil.example",
    "x",
  ])
    assert.equal(placeIn(place), "/", String(place));
});

test("A log-in that has begun ends in time, and holds for the node that sealed it", () => {
  const pending = { state: "s", nonce: "n", verifier: "v", redirect: callback, to: "/", until: 1_000 };
  const logins = new PendingLogins();
  const sealed = logins.seal(pending);
  assert.deepEqual(logins.open(sealed, 999), pending);
  assert.equal(logins.open(sealed, 1_000), undefined);
  assert.equal(new PendingLogins().open(sealed, 0), undefined);
  for (const text of ["", "AAAA", `${sealed.slice(0, -4)}AAAA`]) assert.equal(logins.open(text, 0), undefined);
});
