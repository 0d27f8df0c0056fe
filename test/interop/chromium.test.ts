import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type Browser, chromium } from "playwright-core";
import type { Session } from "../../src/control/api.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, source } from "../peers.ts";
import { DOMAIN, makeLeaf, makePki, type Pki } from "../pki.ts";
import { freePort, must, type Program, scratch, start, until } from "../processes.ts";

const RESOURCES = 50;
/** Hosts that a browser contacts by itself. They bypass the proxy, and do not resolve. */
const VENDOR = ["*.google.com", "*.googleapis.com", "*.gstatic.com"];

describe("Chromium", needs("openssl", "nginx-light", "chromium", "libnss3-tools"), () => {
  let pki: Pki;
  let origin: Nginx;
  /** Hosts that share a certificate, an address and a port. */
  let shop: Nginx;
  let echo: Program;
  let node: TestNode;
  let home: string;

  before(async () => {
    pki = await makePki();
    const echoPort = await freePort();
    echo = start(process.execPath, [source("websocket-echo.ts"), String(echoPort)]);
    await echo.shows(/^READY$/m);
    origin = await nginx(
      pki.server.ecdsa,
      `location = /echo {
         proxy_pass http://127.0.0.1:${echoPort};
         proxy_http_version 1.1;
         proxy_set_header Upgrade $http_upgrade;
         proxy_set_header Connection upgrade;
       }`,
    );
    writePage(origin.files);
    const names = ["a", "b", "c"].map((host) => `DNS:${host}.shop.example`);
    shop = await nginx(await makeLeaf(pki, "shop", names.join()));
    writeFileSync(join(shop.files, "index.html"), SHOP);
    for (const host of ["a", "b", "c"]) writeFileSync(join(shop.files, `${host}.txt`), `secret of ${host}`);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port, shop: shop.port },
      config: {
        policy: {
          page: {},
          rules: [
            { name: "b", match: { host: "b.shop.example" }, action: "bypass" },
            { name: "c", match: { host: "c.shop.example" }, action: "drop" },
          ],
        },
        feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }],
      },
    });
    // The bypassed host shows its own certificate.
    const roots = join(pki.folder, "roots.pem");
    writeFileSync(roots, [node.primary, pki.root.certificate].map((file) => readFileSync(file, "utf8")).join("\n"));
    home = await makeHome(roots);
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
    await shop?.process.stop();
    await echo?.stop();
  });

  /** Closed sessions, without spare connections that the browser closed before it named a server. */
  async function used(is: (session: Session) => boolean): Promise<readonly Session[]> {
    await until("an end to the browser's sessions", async () => (await node.stats()).sessions.live === 0);
    return (await node.sessions({})).filter((session) => is(session) && session.certificate !== null);
  }

  test("A page with 50 resources over HTTP/2 and a WebSocket loads through the explicit proxy", async () => {
    const proxy = { server: `http://127.0.0.1:${node.proxy}`, bypass: `<-loopback>,${VENDOR.join(",")}` };
    const browser = await launch(home, { proxy });
    try {
      await visit(browser, `https://localhost:${origin.port}/`);
    } finally {
      await browser.close();
    }
    const sessions = await used(({ listener }) => listener === "proxy");
    assert.ok(sessions.some(({ clientLeg, serverLeg }) => clientLeg.alpn === "h2" && serverLeg.alpn === "h2"));
    // The WebSocket has its own connection, with HTTP/1.1.
    assert.ok(
      sessions.some(({ clientLeg, serverLeg }) => clientLeg.alpn === "http/1.1" && serverLeg.alpn === "http/1.1"),
    );
    for (const { verdict, connectHost, ja4 } of sessions) {
      assert.deepEqual([verdict, connectHost], ["decrypt", "localhost"]);
      assert.match(ja4 ?? "", /^t13/);
    }
  });

  test("The same page loads through a forwarding port", async () => {
    const browser = await launch(home, { rules: [`MAP *.${DOMAIN} 127.0.0.1`] });
    try {
      await visit(browser, `https://browser.${DOMAIN}:${node.forward("web")}/`);
    } finally {
      await browser.close();
    }
    const sessions = await used(({ sni }) => sni === `browser.${DOMAIN}`);
    assert.ok(sessions.length > 0);
    for (const { verdict, listener } of sessions) assert.deepEqual([verdict, listener], ["decrypt", "web"]);
  });

  test("Requests for a bypassed or dropped host do not ride on the decrypted connection to another one", async () => {
    const browser = await launch(home, { rules: ["MAP *.shop.example 127.0.0.1"] });
    const heard: Record<string, string> = {};
    try {
      const page = await browser.newPage();
      await page.goto(`https://a.shop.example:${node.forward("shop")}/`);
      await page.waitForFunction("globalThis.heard !== undefined");
      Object.assign(heard, await page.evaluate("globalThis.heard"));
    } finally {
      await browser.close();
    }
    assert.deepEqual(heard, { a: "answered", b: "answered", c: "failed" });
    const sessions = await used(({ listener }) => listener === "shop");
    assert.deepEqual([...new Set(sessions.map(({ sni, verdict }) => `${sni} ${verdict}`))], ["a.shop.example decrypt"]);
    const others = await node.sessions({});
    for (const [host, expected] of [
      ["b", "bypass"],
      ["c", "drop"],
    ] as const) {
      const own = others.filter(({ sni }) => sni === `${host}.shop.example`);
      assert.ok(own.length > 0, `a session of its own for ${host}`);
      for (const { verdict } of own) assert.equal(verdict, expected);
    }
    const captures = readdirSync(node.captures).map((name) => readFileSync(join(node.captures, name), "latin1"));
    const plain = captures.join("");
    assert.ok(plain.includes("secret of a"), "what is decrypted is in the feed");
    assert.ok(!plain.includes("secret of b") && !plain.includes("secret of c"), "what is not, is not");
  });

  test("Who goes on past the warning sees why a host is dropped, or its server not reached, in a page inside TLS", async () => {
    const browser = await launch(home, { rules: ["MAP *.shop.example 127.0.0.1"] });
    const closed = await freePort();
    const proxy = { server: `http://127.0.0.1:${node.proxy}`, bypass: "<-loopback>,*.shop.example" };
    try {
      const context = await browser.newContext({ ignoreHTTPSErrors: true, proxy });
      for (const [url, status, heading] of [
        [`https://c.shop.example:${node.forward("shop")}/`, 403, /not allowed/],
        [`https://localhost:${closed}/`, 502, /cannot be reached/],
      ] as const) {
        const page = await context.newPage();
        const complaints: string[] = [];
        page.on("console", (message) => void complaints.push(message.text()));
        const response = await page.goto(url);
        assert.equal(response?.status(), status);
        assert.match((await response?.securityDetails())?.issuer ?? "", /Secondary/);
        assert.match((await page.textContent("h1")) ?? "", heading);
        const id = (await page.textContent("dd:last-of-type")) ?? "";
        await until(`session ${id}`, async () =>
          (await node.sessions({})).some((one) => one.id === id && one.page === "shown"),
        );
        assert.ok(!complaints.some((text) => /Content Security Policy/.test(text)), complaints.join("\n"));
      }
    } finally {
      await browser.close();
    }
  });
});

/** Asks for a text of each host, one after the other, when the connection to the first is there. */
const SHOP = `<!doctype html><title>shop</title><link rel="icon" href="data:,"><script>
  (async () => {
    const heard = {};
    for (const host of ["a", "c", "b"]) {
      const url = "https://" + host + ".shop.example:" + location.port + "/" + host + ".txt";
      heard[host] = await fetch(url, { mode: "no-cors", credentials: "include" }).then(() => "answered", () => "failed");
    }
    globalThis.heard = heard;
  })();
</script>`;

async function visit(browser: Browser, url: string): Promise<void> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("requestfailed", (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));

  const response = await page.goto(url);
  assert.equal(response?.status(), 200);
  const security = await response?.securityDetails();
  assert.match(security?.issuer ?? "", /Primary/);
  await page.waitForFunction("globalThis.echoed !== undefined && globalThis.loaded === true");
  const seen = await page.evaluate<{ echoed: string; count: number; protocols: string[] }>(`({
    echoed: globalThis.echoed,
    count: globalThis.count,
    protocols: performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol),
  })`);
  assert.deepEqual(complaints, []);
  assert.equal(seen.count, RESOURCES);
  assert.equal(seen.echoed, "x".repeat(5000));
  assert.equal(seen.protocols.filter((protocol) => protocol === "h2").length, RESOURCES);
}

function writePage(folder: string): void {
  const scripts: string[] = [];
  for (let at = 0; at < RESOURCES; at++) {
    writeFileSync(
      join(folder, `${at}.js`),
      `globalThis.count = (globalThis.count ?? 0) + 1; // ${"-".repeat(at * 1000)}`,
    );
    scripts.push(`<script src="${at}.js"></script>`);
  }
  writeFileSync(
    join(folder, "index.html"),
    `<!doctype html><title>50</title><link rel="icon" href="data:,">${scripts.join("")}
<script>
  addEventListener("load", () => { globalThis.loaded = true; });
  const socket = new WebSocket("wss://" + location.host + "/echo");
  socket.onopen = () => socket.send("x".repeat(5000));
  socket.onmessage = ({ data }) => { globalThis.echoed = data; socket.close(); };
</script>`,
  );
}

/** A home folder whose NSS database, which Chromium reads, trusts these CAs. */
async function makeHome(roots: string): Promise<string> {
  const home = scratch();
  const database = join(home, ".pki/nssdb");
  mkdirSync(database, { recursive: true });
  const certutil = (...args: string[]) => must(program("libnss3-tools"), ["-d", `sql:${database}`, ...args]);
  await certutil("-N", "--empty-password");
  for (const [at, pem] of (await must("/bin/cat", [roots])).split(/(?<=-----END CERTIFICATE-----)/).entries()) {
    if (!pem.includes("BEGIN")) continue;
    const file = join(home, `${at}.pem`);
    writeFileSync(file, pem.trimStart());
    await certutil("-A", "-n", `root ${at}`, "-t", "C,,", "-i", file);
  }
  return home;
}

function launch(home: string, options: { proxy?: { server: string; bypass: string }; rules?: string[] }) {
  const rules = [...(options.rules ?? []), ...VENDOR.map((host) => `MAP ${host} ~NOTFOUND`)];
  const quiet = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return chromium.launch({
    executablePath: program("chromium"),
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: join(home, ".config"), XDG_CACHE_HOME: join(home, ".cache") },
    args: ["--no-sandbox", ...quiet, `--host-resolver-rules=${rules.join(",")}`],
    ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
  });
}
