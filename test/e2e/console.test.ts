import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "node:tls";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import type { BypassInfo, ShownToken } from "../../src/control/api.ts";
import { curl } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makeLeaf, makePki, type Pki } from "../pki.ts";
import { freePort, until } from "../processes.ts";

/** Where pictures of the pages go, for the guide; absent: none are made. */
const PICTURES = process.env["CLEARLINE_PICTURES"];
const AXE = readFileSync(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");
/** A text that would do something if a page took it for markup. */
const MARKUP = "<img src=x onerror=globalThis.hurt=1>";

/** One node with real traffic and faults, and one browser for all pages. */
describe("The console", needs("openssl", "nginx-light", "curl", "chromium"), () => {
  let pki: Pki;
  let node: TestNode;
  let browser: Browser;
  let context: BrowserContext;
  const origins: Nginx[] = [];
  const complaints: string[] = [];
  const host = (name: string) => `${name}.${DOMAIN}`;

  before(async () => {
    pki = await makePki();
    origins.push(
      await nginx(pki.server.ecdsa),
      await nginx(pki.faulty.expired),
      await nginx(await makeLeaf(pki, "<b>bold", `DNS:${host("markup")}`)),
    );
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origins[0]!.port, old: origins[1]!.port, odd: origins[2]!.port },
      config: {
        policy: {
          rules: [
            { name: "banking", match: { host: host("bank") }, action: "bypass" },
            { name: "games", match: { host: host("games") }, action: "drop" },
          ],
        },
        feeds: [
          { name: "archive", kind: "pcapng", directory: "./captures" },
          { name: "view", kind: "http" },
        ],
      },
    });
    const visit = (way: string, name: string, roots = node.primary) =>
      curl({ port: node.forward(way) }, roots, [`https://${host(name)}/negotiated`]);
    await Promise.all([
      ...["shop", "api", "images"].map((name) => visit("web", name)),
      visit("web", "bank", pki.root.certificate),
      visit("web", "games"),
      visit("old", "old"),
      visit("odd", "markup"),
      // It does not trust the node's CA.
      visit("web", "pinned", pki.root.certificate),
    ]);
    for (const name of ["shop", "bank", "games", "old", "markup", "pinned"]) await node.session(host(name));
    browser = await chromium.launch({
      executablePath: program("chromium"),
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
    });
    context = await open({ viewport: { width: 1440, height: 1000 } });
  });
  after(async () => {
    await browser?.close();
    await node?.stop();
    for (const { process } of origins) await process.stop();
  });

  const root = () => node.url.replace("/api/v1", "");
  const owner = () => readFileSync(join(node.folder, "data/token"), "utf8").trim();

  /** A browser's window that is logged in with this token. */
  async function open(options: BrowserContextOptions, token = owner()): Promise<BrowserContext> {
    const opened = await browser.newContext({ reducedMotion: "reduce", ...options });
    opened.on("page", (page) => {
      page.on("console", (said) => void (said.type() === "error" && complaints.push(said.text())));
      page.on("pageerror", (error) => complaints.push(error.message));
    });
    const page = await opened.newPage();
    await page.goto(root());
    await page.getByLabel("Token").fill(token);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("navigation").waitFor();
    await page.close();
    return opened;
  }

  async function visit(path: string, heading: string | RegExp, on = context): Promise<Page> {
    return show(await on.newPage(), path, heading);
  }

  async function show(page: Page, path: string, heading: string | RegExp): Promise<Page> {
    await page.goto(root() + path);
    await page.getByRole("heading", { name: heading }).first().waitFor();
    return page;
  }

  /** Nothing that a reader with other senses or hands would miss, and no markup of strangers. */
  async function inspect(page: Page): Promise<void> {
    const violations = await page.evaluate<string[]>(`(async () => {
      ${AXE}
      const { violations } = await axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html.slice(0, 120)).join(" | "));
    })()`);
    assert.deepEqual(violations, []);
    assert.equal(await page.evaluate("globalThis.hurt"), undefined);
  }

  async function picture(page: Page, name: string): Promise<void> {
    if (PICTURES === undefined) return;
    mkdirSync(PICTURES, { recursive: true });
    await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  }

  const session = async (name: string) => (await node.sessions({ sni: host(name) }))[0]!;

  test("A wrong token is refused in words, and the pages show nothing before a right one", async () => {
    const stranger = await browser.newContext();
    const page = await stranger.newPage();
    await page.goto(`${root()}/policy`);
    await page.getByLabel("Token").fill("wrong".repeat(8));
    await page.getByRole("button", { name: "Log in" }).click();
    assert.match((await page.getByRole("alert").textContent())!, /not one of this node's/);
    assert.equal(await page.getByText("banking").count(), 0);
    await inspect(page);
    await stranger.close();
  });

  test("The first page says what is decrypted and what needs the operator, and lists the sessions", async () => {
    const page = await visit("/", /things need you/);
    const needs = page.getByRole("region", { name: "Needs you" });
    assert.match((await needs.textContent())!, new RegExp(`${host("pinned")}.*unknown_ca.*does not trust the CA`));
    const rows = page.getByRole("list", { name: /^Sessions/ }).getByRole("link");
    await rows
      .filter({ hasText: host("shop") })
      .first()
      .waitFor();
    assert.match(
      (await rows
        .filter({ hasText: host("games") })
        .first()
        .textContent())!,
      /Dropped.*games/,
    );
    await page.getByRole("img", { name: /Clients reach the node at Na/ }).waitFor();
    await page.getByRole("img", { name: /^Last hour\. Decrypted: [1-9]/ }).waitFor();
    await inspect(page);
    await picture(page, "overview");
    await page.close();
  });

  test("Search understands hosts, verdicts and outcomes, the address holds it, and mistakes are told", async () => {
    const page = await visit("/?q=verdict:drop", "Sessions");
    const rows = page.getByRole("list", { name: /^Sessions/ }).getByRole("link");
    await rows
      .filter({ hasText: host("games") })
      .first()
      .waitFor();
    assert.equal(await rows.filter({ hasText: host("shop") }).count(), 0);
    await page.keyboard.press("/");
    await page.getByRole("searchbox").fill(`outcome:clientRefusedCertificate host:${host("pinned")}`);
    await rows
      .filter({ hasText: host("pinned") })
      .first()
      .waitFor();
    assert.match(page.url(), /q=outcome/);
    const linked = await context.newPage();
    await linked.goto(page.url());
    await linked
      .getByRole("list", { name: /^Sessions: 1$/ })
      .getByRole("link", { name: new RegExp(host("pinned")) })
      .waitFor();
    assert.match(await linked.getByRole("searchbox").inputValue(), /^outcome:clientRefusedCertificate/);
    await linked.keyboard.press("?");
    await linked.getByRole("dialog", { name: "Keys" }).getByText("Go to a page").waitFor();
    await inspect(linked);
    await linked.keyboard.press("Escape");
    await linked.getByRole("dialog").waitFor({ state: "detached" });
    await linked.close();
    await page.getByRole("searchbox").fill("nothing:here");
    assert.match((await page.getByRole("alert").textContent())!, /no field "nothing"/);
    await page.getByRole("searchbox").fill("version:TLSv9");
    await page.getByText(/version is .*not one of/).waitFor();
    await page.close();
  });

  test("New sessions come by themselves, and those of a pause are not lost", async () => {
    const page = await visit("/", "Sessions");
    const rows = page.getByRole("list", { name: /^Sessions/ }).getByRole("link");
    await rows.first().waitFor();
    await curl({ port: node.forward("web") }, node.primary, [`https://${host("fresh")}/negotiated`]);
    await rows
      .filter({ hasText: host("fresh") })
      .first()
      .waitFor();
    await page.keyboard.press("p");
    await page.getByRole("button", { name: "Go on" }).waitFor();
    await curl({ port: node.forward("web") }, node.primary, [`https://${host("later")}/negotiated`]);
    await node.session(host("later"));
    await page.getByRole("button", { name: "Go on" }).click();
    await rows
      .filter({ hasText: host("later") })
      .first()
      .waitFor();
    await context.setOffline(true);
    const lost = page.getByText("The connection to the node is lost.").first();
    await lost.waitFor();
    await inspect(page);
    await picture(page, "disconnected");
    await curl({ port: node.forward("web") }, node.primary, [`https://${host("meanwhile")}/negotiated`]);
    await context.setOffline(false);
    await rows
      .filter({ hasText: host("meanwhile") })
      .first()
      .waitFor();
    await lost.waitFor({ state: "detached" });
    await page.close();
  });

  test("A session's page has its timeline, both legs, both certificates, and its requests when asked", async () => {
    const { id } = await session("shop");
    const page = await visit(`/sessions/${id}`, host("shop"));
    for (const text of [
      /Handshake with the server/,
      /Verdict: decrypt by default/,
      /Shown by the server/,
      /the primary CA/,
      /Versions offered/,
    ])
      await page.getByText(text).first().waitFor();
    await page.getByRole("button", { name: "Show requests" }).click();
    await page.getByRole("cell", { name: new RegExp(`https://${host("shop")}`) }).waitFor();
    await inspect(page);
    await picture(page, "session");
    const audit = await node.api<{ entries: { action: string; subject: string | null }[] }>("audit?limit=20");
    assert.ok(audit.entries.some(({ action, subject }) => action === "view transactions" && subject === id));
    await page.keyboard.press("1");
    await page.getByRole("heading", { name: /need you/ }).waitFor();
    await page.close();
  });

  test("A live session is followed, and what limits, versions and a failed reload ask for is said", async () => {
    const live = connect({ port: node.forward("web"), servername: host("live"), ca: readFileSync(node.primary) });
    await once(live, "secureConnect");
    live.write(`GET /negotiated?followed HTTP/1.1\r\nHost: ${host("live")}\r\n\r\n`);
    await once(live, "data");
    const { id } = await until("the live session", async () => session("live"));
    const page = await visit(`/sessions/${id}`, host("live"));
    await page.getByRole("button", { name: "Follow" }).click();
    await page.getByText(/GET \S*\/negotiated\?followed/).waitFor();
    await picture(page, "follow");

    const silent = {
      ...{ name: "dlp", kind: "proxy", address: `127.0.0.1:${await freePort()}`, onFailure: "bypass" },
      ...{
        returnAddress: `127.0.0.1:${await freePort()}`,
        heartbeat: { period: "100ms", timeout: "50ms", retries: 1 },
      },
    };
    node.rewrite({
      policy: { versions: { min: "SSLv3" } },
      limits: { perClient: { sessions: 1 } },
      tools: [silent],
    });
    await node.api("reload", "POST");
    // Each worker counts its own sessions of a client.
    await until("a connection to the worker of the live session", async () => {
      await curl({ port: node.forward("web") }, node.primary, [`https://${host("refused")}/negotiated`]);
      return (await node.stats()).limits.met.length > 0;
    });
    live.destroy();
    node.rewrite({ policy: { default: "dorp" } });
    await assert.rejects(node.api("reload", "POST"));
    await page.goto(root());
    const needs = page.getByRole("region", { name: "Needs you" });
    for (const text of [
      /The last reload failed: .*policy\.default is "dorp"/,
      /allows SSL 3\.0/,
      /limits\.perClient\.sessions was met\. Connections refused: [1-9]/,
    ])
      await needs.getByText(text).waitFor();
    await picture(page, "needs");
    await page.getByRole("link", { name: "Tools and feeds" }).click();
    await page.getByRole("table", { name: "Changes of health" }).getByText("Tool dlp").first().waitFor();
    await inspect(page);
    await picture(page, "changes");
    await page.getByRole("link", { name: "Overview" }).click();
    node.rewrite({});
    await node.api("reload", "POST");
    await needs.getByText(/reload failed/).waitFor({ state: "detached" });
    await page.close();
  });

  test("Names of strangers are text", async () => {
    const { id } = await session("markup");
    const page = await visit(`/sessions/${id}`, host("markup"));
    // RFC 4514, section 2.4.
    await page
      .getByText(/CN=\\<b\\>bold/)
      .first()
      .waitFor();
    await inspect(page);
    await page.close();
  });

  test("A bypass is previewed, added with its comment, shown, and ended", async () => {
    const page = await visit("/", /things need you/);
    const row = page
      .getByRole("region", { name: "Needs you" })
      .getByRole("listitem")
      .filter({ hasText: host("pinned") });
    await row.getByRole("button", { name: "Bypass" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/covered 1 failed and 0 good/).waitFor();
    await dialog.getByLabel("Because").fill(MARKUP);
    await picture(page, "bypass");
    await dialog.getByRole("button", { name: "Bypass" }).click();
    await dialog.getByText(/is bypassed from now on/).waitFor();
    const visited = await curl({ port: node.forward("web") }, pki.root.certificate, [
      `https://${host("pinned")}/negotiated`,
    ]);
    assert.equal(visited.code, 0, visited.stderr);
    await page.goto(`${root()}/policy`);
    const table = page.getByRole("region", { name: "Bypasses with an end" }).getByRole("table");
    await table.getByText(MARKUP).waitFor();
    await inspect(page);
    await page.getByRole("button", { name: "End it" }).click();
    await page.getByText("No bypasses.").waitFor();
    assert.deepEqual(await node.api<BypassInfo[]>("bypasses"), []);
    await page.close();
  });

  test("The policy page explains, previews an edited text with errors in place, and reloads", async () => {
    const page = await visit(`/policy?host=${host("bank")}`, "Dry run");
    await page.getByText(/by banking in the \w+ phase/).waitFor();
    await page.getByLabel("The section").fill('{ "default": "dorp" }');
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByText(/policy\.default is "dorp"/).waitFor();
    await page.getByLabel("The section").fill('{ "default": "bypass" }');
    await page.getByRole("button", { name: "Preview" }).click();
    await page.getByText(/would be decided otherwise/).waitFor();
    await page.getByRole("button", { name: "Reload" }).click();
    await page.getByText("Nothing has changed.").first().waitFor();
    await inspect(page);
    await picture(page, "policy");
    await page.close();
  });

  test("Certificates, tools and feeds, and the node's own page are there, in light and dark, on a phone and on a wall", async () => {
    for (const [path, heading, colorScheme, width] of [
      ["/certificates", "Signing CAs", "dark", 390],
      ["/tools", "Feeds", "light", 390],
      ["/node", "Processes", "dark", 2560],
      ["/", "Sessions", "dark", 390],
    ] as const) {
      const page = await context.newPage();
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await show(page, path, heading);
      await inspect(page);
      const overflow = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth");
      assert.ok(overflow <= 0, `${path} is ${overflow} px wider than ${width}`);
      if (path === "/node") await page.getByText(/sessions: \d+ live, \d+ ended in the last hour/).waitFor();
      await picture(page, `${path.slice(1) || "phone"}-${colorScheme}`);
      await page.close();
    }
  });

  test("A viewer sees, and may change nothing", async () => {
    const { token } = await node.api<ShownToken>("tokens", "POST", { name: "wall", role: "viewer" });
    const wall = await open({}, token);
    const page = await visit("/policy", "Dry run", wall);
    for (const name of ["Reload", "Preview"])
      assert.ok(await page.getByRole("button", { name, exact: true }).isDisabled());
    await page.goto(`${root()}/sessions/${(await session("shop")).id}`);
    assert.ok(await page.getByRole("button", { name: "Show requests" }).isDisabled());
    await node.api("tokens/wall", "DELETE");
    await page.reload();
    await page.getByLabel("Token").waitFor();
    await wall.close();
  });

  test("No page complained", async () => {
    await until("the last messages", async () => true);
    assert.deepEqual(
      complaints.filter((text) => !/status of 40[013]|ERR_INTERNET_DISCONNECTED/.test(text)),
      [],
    );
  });
});
