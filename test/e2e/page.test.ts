import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { AuthorityInfo, Session } from "../../src/control/api.ts";
import { connectThrough, curl, opensslClient, readAll, type Way } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makeAuthority, makePki, type Pki } from "../pki.ts";
import { freePort, must, until } from "../processes.ts";

const TEMPLATE =
  "<!doctype html><html lang=en><title>{{title}}</title><h1>Ours</h1><p title='{{host}}'>{{reason}} {{rule}} {{session}}</p>";
const PAGE = ["-H", "Accept: text/html,*/*;q=0.8"];
const BROWSER = [...PAGE, "-A", "Mozilla/5.0 (X11; Linux) Firefox/140.0"];

describe("Pages of the node, and the life of its CA", needs("openssl", "curl"), () => {
  let pki: Pki;
  let good: Origin;
  /** Its certificate is of a CA that nobody trusts. */
  let bad: Origin;
  let closed: number;
  let node: TestNode;

  before(async () => {
    pki = await makePki();
    good = await opensslServer(pki.server.ecdsa);
    bad = await opensslServer(await makeAuthority(pki, "stranger"));
    closed = await freePort();
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { good: good.port, bad: bad.port, closed },
      config: {
        policy: {
          page: { wait: "300ms" },
          rules: [
            { name: "<b>no</b>", match: { host: [`no.${DOMAIN}`, "plain.test"] }, action: "drop" },
            { name: "no port", match: { port: 9 }, action: "drop" },
          ],
        },
      },
    });
  });
  after(async () => {
    await node?.stop();
    await good?.process.stop();
    await bad?.process.stop();
  });

  /** What curl got, with its session. */
  async function ask(way: Way, url: string, args: readonly string[]) {
    const since = Date.now();
    const shown = [
      "-sS",
      "-k",
      "-i",
      "-w",
      "\n%{local_port} %{http_version} %{http_code} %{http_connect}",
      ...args,
      url,
    ];
    const { stdout, stderr, code } = await curl(way, node.secondary, shown);
    const [, port = "0", version, status] = /\n(\d+) (\S+) (\d+) \d+$/.exec(stdout) ?? [];
    const session: Session = await node.sessionFrom(Number(port), since);
    return { stdout, stderr, code, version, status, session };
  }

  test("A dropped client that asks for a page sees one in its TLS, over HTTP/1.1, signed by the CA that it must not trust", async () => {
    const name = `no.${DOMAIN}`;
    const { stdout, status, version, session } = await ask({ port: node.forward("good") }, `https://${name}/a`, PAGE);
    assert.deepEqual([status, version], ["403", "1.1"]);
    assert.match(stdout, /^content-type: text\/html; charset=utf-8\r$/im);
    assert.match(stdout, /^content-security-policy: default-src 'none';/im);
    assert.ok(stdout.includes("&lt;b&gt;no&lt;/b&gt;") && stdout.includes(session.id), stdout);
    const { verdict, page, presented, clientLeg, closeReason } = session;
    assert.deepEqual([verdict, page, presented?.authority, clientLeg.alpn], ["drop", "shown", "secondary", "http/1.1"]);
    assert.match(closeReason ?? "", /^Dropped: /);
    const { stdout: shown } = await node.command("session", session.id);
    assert.match(shown, /^Page +shown$/m);
  });

  test("A client that asks for no page gets the same as text", async () => {
    const url = `https://no.${DOMAIN}/`;
    const { stdout, session } = await ask({ port: node.forward("good") }, url, []);
    assert.match(stdout, /^content-type: text\/plain/im);
    assert.match(stdout, /^Rule: <b>no<\/b>\nSession: \S+$/m);
    assert.equal(session.page, "text");
  });

  test("A server with a bad certificate, and one that is not there, give a page too, through a port and a browser's proxy", async () => {
    const proxy = (target: number) => ({ proxy: node.proxy, target });
    for (const [way, target, status, reason] of [
      [{ port: node.forward("bad") }, bad.port, "502", /unknownIssuer|selfSigned/],
      [proxy(bad.port), bad.port, "502", /unknownIssuer|selfSigned/],
      [{ port: node.forward("closed") }, closed, "502", /refused|ECONNREFUSED/i],
      [proxy(closed), closed, "502", /refused|ECONNREFUSED/i],
      [proxy(9), 9, "403", /no port/],
    ] as const) {
      const answer = await ask(way, `https://localhost:${target}/`, BROWSER);
      assert.equal(answer.status, status, answer.stdout + answer.stderr);
      assert.match(answer.stdout, reason);
      assert.equal(answer.session.page, "shown");
      assert.equal(answer.session.outcome, target === closed ? "serverUnreachable" : "dropped");
    }
  });

  test("A client of the proxy that is no browser has the status of its CONNECT, with the page as its body", async () => {
    const { socket, status } = await connectThrough(node.proxy, `127.0.0.1:${closed}`);
    assert.equal(status, 502);
    assert.match(String(await readAll(socket)), /<h1>This server cannot be reached<\/h1>/);
  });

  test("Plain HTTP that is dropped gives a page, through the proxy and through a port", async () => {
    const asked = (target: string) =>
      `GET ${target} HTTP/1.1\r\nHost: plain.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n`;
    for (const [port, target] of [
      [node.proxy, `http://plain.test:${good.port}/`],
      [node.forward("good"), "/"],
    ] as const) {
      const socket = net.connect(port, "127.0.0.1");
      socket.write(asked(target));
      const answer = String(await readAll(socket));
      assert.match(answer, /^HTTP\/1.1 403 .*text\/html.*&lt;b&gt;no/s);
    }
  });

  test("A client that speaks HTTP/2 alone gets its page over that", async () => {
    const url = `https://127.0.0.1:${node.forward("good")}`;
    for (const [headers, shown] of [
      [{ accept: "text/html" }, "shown"],
      [{ ":method": "POST" }, "text"],
    ] as const) {
      const since = Date.now();
      const client = http2.connect(url, { servername: `no.${DOMAIN}`, rejectUnauthorized: false });
      const stream = client.request({ ":path": "/a", ...headers }, { endStream: true });
      const [answer] = await once(stream, "response");
      const body = (await stream.toArray()).join("");
      assert.equal(answer[":status"], 403);
      assert.match(answer["content-security-policy"], /^default-src 'none'/);
      assert.ok(
        body.includes(shown === "shown" ? "<h1>This connection is not allowed</h1>" : "Rule: <b>no</b>\n"),
        body,
      );
      const { localPort } = client.socket;
      await once(client, "close");
      const { page, clientLeg } = await node.sessionFrom(localPort ?? 0, since);
      assert.deepEqual([page, clientLeg.alpn], [shown, "h2"]);
    }
    const garbage = { way: { port: node.forward("good") }, name: `no.${DOMAIN}`, roots: node.secondary };
    await opensslClient({ ...garbage, more: ["-alpn", "h2"], input: "x".repeat(100_000) });
    await until("a session whose client asked for nothing over HTTP/2", async () =>
      (await node.sessions({ host: `no.${DOMAIN}` })).some(
        (one) => one.clientLeg.alpn === "h2" && one.page === "notAsked",
      ),
    );
  });

  test("A client that speaks no HTTP gets the alert as ever", async () => {
    for (const more of [[], ["-alpn", "imap"]]) {
      const way = { port: node.forward("good") };
      const { stderr } = await opensslClient({ way, name: `no.${DOMAIN}`, roots: node.secondary, more });
      assert.match(stderr, /alert access denied|alert number 49/);
    }
  });

  test("A client that takes the certificate and asks for nothing, and one that does not take it, hold nothing", async () => {
    const way = { port: node.forward("good") };
    const since = Date.now();
    const client = tls.connect({
      ...way,
      servername: `no.${DOMAIN}`,
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: false,
    });
    const port = new Promise<number>((told) => client.once("connect", () => told(client.localPort ?? 0)));
    client.resume();
    await once(client, "close");
    assert.equal((await node.sessionFrom(await port, since)).page, "notAsked");
    const name = `no.${DOMAIN}`;
    const { stderr } = await opensslClient({ way, name, roots: pki.root.certificate, more: ["-alpn", "http/1.1"] });
    assert.match(stderr, /verify failed/);
    await until("a session whose client refused the page", async () =>
      (await node.sessions({ host: name })).some((session) => session.page === "refused"),
    );
  });

  test("The proxy itself answers for its own host with the CA's certificates, to who has no token, and says so to who wants TLS", async () => {
    const own = ["-q", "-sS", "--noproxy", "", "-x", `http://127.0.0.1:${node.proxy}`];
    const page = await must(program("curl"), [...own, "-i", "http://ca.clearline.internal/"]);
    assert.match(page, /^HTTP\/1.1 200 .*content-security-policy: default-src 'none'/is);
    const { sha256 } = (await node.api<AuthorityInfo[]>("ca"))[0]!;
    assert.ok(page.replaceAll(":", "").includes(sha256.toUpperCase()));
    const bundle = await must(program("curl"), [...own, "http://CA.Clearline.Internal/ca/clearline-ca.pem"]);
    assert.equal(bundle.trim(), (await node.command("ca", "export")).stdout.trim());
    assert.match(await must(program("curl"), [...own, "-d", "a=b", "http://ca.clearline.internal/"]), /only read/);
    const { status, socket } = await connectThrough(node.proxy, "ca.clearline.internal:443");
    assert.equal(status, 403);
    assert.match(String(await readAll(socket)), /is http:\/\/ca\.clearline\.internal\//);
  });

  test("The next CA is offered beside the present one, which signs until the other is activated; then old keys are destroyed", async () => {
    const authorities = async () => node.api<AuthorityInfo[]>("ca");
    const offered = () => fetch(new URL("/ca/clearline-ca.pem", node.url)).then((answer) => answer.text());
    const host = `life.${DOMAIN}`;
    const visit = (roots: string) =>
      curl({ port: node.forward("good") }, roots, ["-o", "/dev/null", `https://${host}/`]);
    const next = join(node.folder, "next.pem");
    assert.match(
      (await node.command("ca", "export", "--next")).stderr,
      /There is no next CA until you make it: .*ca next/,
    );
    assert.match((await node.command("ca", "activate")).stderr, /there is none\. Make one with/);
    assert.match((await node.command("ca", "next")).stdout, /^next primary CA, ecdsa$/m);
    writeFileSync(next, (await node.command("ca", "export", "--next")).stdout);
    assert.deepEqual(
      (await authorities()).map(({ role, stage }) => `${stage} ${role}`),
      [..."present primary,present primary,present secondary,present secondary,next primary,next primary".split(",")],
    );
    assert.equal((await offered()).match(/BEGIN/g)?.length, 4);
    assert.doesNotMatch(await offered(), /PRIVATE/);
    assert.deepEqual([(await visit(node.primary)).code, (await visit(next)).code], [0, 60]);

    assert.equal((await node.command("ca", "activate")).code, 0);
    assert.deepEqual([(await visit(node.primary)).code, (await visit(next)).code], [60, 0]);
    assert.equal((await offered()).trim(), (await node.command("ca", "export")).stdout.trim());
    const keys = () => readdirSync(join(node.folder, "data/ca")).filter((name) => name.includes(".key.old"));
    assert.equal(keys().length, 2);
    const unsure = await node.command("ca", "destroy");
    assert.equal(unsure.code, 2);
    assert.match(unsure.stderr, /cannot be undone\. Say --yes/);
    assert.match(
      (await node.command("ca", "destroy", "--yes")).stdout,
      /Destroyed 2 private keys of the former primary CAs/,
    );
    assert.equal(keys().length, 0);
    const audited = (await node.command("audit")).stdout;
    for (const action of ["ca next", "ca activate", "ca destroy"]) assert.ok(audited.includes(action), audited);
  });

  test("A template of one's own is used after a reload, and one with a mistake is refused with its place", async () => {
    const template = join(node.folder, "page.html");
    const policy = { page: { template: "page.html", signedBy: "primary" }, default: "drop" };
    writeFileSync(template, TEMPLATE.replace("{{reason}}", "{{client}}"));
    node.rewrite({ policy });
    const refused = await node.command("reload");
    assert.match(
      refused.stderr,
      /policy\.page\.template names a template that has \{\{client\}\}; the placeholders are/,
    );
    writeFileSync(template, "x".repeat(33_000));
    assert.match((await node.command("check")).stderr, /policy\.page\.template is .* larger than 32 KiB/);
    writeFileSync(template, TEMPLATE);
    assert.equal((await node.command("reload")).code, 0);
    const { stdout, session } = await ask({ port: node.forward("good") }, `https://any.${DOMAIN}/`, PAGE);
    assert.ok(stdout.includes(`<h1>Ours</h1><p title='any.${DOMAIN}'>`), stdout);
    assert.equal(session.presented?.authority, "primary");
  });
});
