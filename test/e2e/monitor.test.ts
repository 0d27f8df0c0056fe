import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { Explanation, Report } from "../../src/control/api.ts";
import { curl, nextChunk, opensslClient, readAll } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { run, until } from "../processes.ts";

/** A proxy that asks for a log-in on each connection, as with NTLM: a CONNECT that is not the second one is refused. */
async function openProxyWithLogin(port: number): Promise<net.Server> {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write("HTTP/1.1 407 Log in\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n");
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        const site = net.connect(port, "127.0.0.1").on("error", () => {});
        socket.pipe(site).pipe(socket);
      });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** A policy that would decrypt, drop and fail, and clients that trust the servers' own CA only. */
describe("Monitor mode", needs("openssl", "nginx-light", "curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let site: Nginx;
  let old: Origin;
  let plain: http.Server;
  let proxy: net.Server;

  before(async () => {
    pki = await makePki();
    site = await nginx(pki.server.ecdsa);
    old = await opensslServer(pki.server.rsa, { version: "TLSv1.1" });
    plain = http.createServer((_, response) => response.end("plain")).listen(0, "127.0.0.1");
    await once(plain, "listening");
    proxy = await openProxyWithLogin(site.port);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: {
        ...{ site: site.port, old: old.port, forbidden: site.port },
        tunnel: (proxy.address() as AddressInfo).port,
      },
      config: {
        policy: {
          monitor: true,
          versions: { belowMin: "drop" },
          startTls: { enabled: true },
          rules: [
            { name: "no games", match: { host: `games.${DOMAIN}` }, action: "drop" },
            { name: "nothing plain", match: { host: "localhost" }, action: "drop" },
            { name: "not from there", match: { listener: "forbidden" }, action: "drop" },
          ],
        },
      },
    });
  });
  after(async () => {
    await node?.stop();
    await site?.process.stop();
    await old?.process.stop();
    plain?.close();
    proxy?.close();
  });

  const visit = (way: string, host: string) =>
    curl({ port: node.forward(way) }, pki.root.certificate, [`https://${host}/negotiated`]);

  // The search also finds sessions by the names in the certificate.
  const sessionOf = (search: Readonly<Record<string, string>>) =>
    until("a judged session", async () =>
      (await node.sessions(search)).find(
        ({ monitored, sni }) => monitored !== null && (search["host"] === undefined || sni === search["host"]),
      ),
    );

  for (const [what, way, host, monitored] of [
    ["decrypted", "site", `www.${DOMAIN}`, ["decrypt", "certificate", "default"]],
    ["dropped by its host", "site", `games.${DOMAIN}`, ["drop", "sni", "no games"]],
    ["dropped in the network phase", "forbidden", `net.${DOMAIN}`, ["drop", "network", "not from there"]],
  ] as const) {
    test(`A session that would be ${what} passes as it is, and its record says so`, async () => {
      const { code, stderr } = await visit(way, host);
      assert.equal(code, 0, stderr);
      const search = monitored[1] === "network" ? { listener: way } : { sni: host };
      const session = await sessionOf(search);
      const { verdict, rule, presented } = session;
      assert.deepEqual([verdict, rule, presented], ["bypass", "monitor", null]);
      assert.deepEqual([session.monitored?.verdict, session.monitored?.phase, session.monitored?.rule], monitored);
    });
  }

  test("A server that only the client can agree with is reached, and the record says what would have been", async () => {
    const host = `old.${DOMAIN}`;
    const { code, stdout, stderr } = await opensslClient({
      ...{ way: { port: node.forward("old") }, name: host, roots: pki.root.certificate, version: "TLSv1.1" },
    });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /TLSv1\.1/);
    const { verdict, monitored } = await node.session(host);
    assert.deepEqual([verdict, monitored?.verdict, monitored?.rule], ["bypass", "drop", "versions"]);
  });

  test("A tunnel that cannot be made a second time goes on", async () => {
    const host = `tunnel.${DOMAIN}`;
    const socket = net.connect(node.forward("tunnel"), "127.0.0.1");
    const connect = `CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`;
    for (const status of [/ 407 /, / 200 /]) {
      socket.write(connect);
      assert.match(String(await nextChunk(socket)), status);
    }
    const secure = tls.connect({ socket, servername: host, ca: readFileSync(pki.root.certificate) });
    await once(secure, "secureConnect");
    secure.write(`GET /negotiated HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    assert.match(String(await readAll(secure)), /^HTTP\/1\.1 200 /);
    const { verdict, monitored } = await node.session(host);
    assert.deepEqual([verdict, monitored?.verdict], ["bypass", "decrypt"]);
  });

  test("Plain HTTP to a forbidden host passes, and the record says what would have been", async () => {
    const { port } = plain.address() as AddressInfo;
    const request = ["-q", "-sS", "--noproxy", "", "--proxy", `http://127.0.0.1:${node.proxy}`];
    const { code, stdout, stderr } = await run(program("curl"), [...request, `http://localhost:${port}/`]);
    assert.deepEqual([code, stdout], [0, "plain"], stderr);
    const { monitored } = await sessionOf({ listener: "proxy" });
    assert.equal(monitored?.rule, "nothing plain");
  });

  test("The report counts the sessions by what would have been, and explain shows the policy's own verdict", async () => {
    await node.session(`www.${DOMAIN}`);
    const { code, stdout, stderr } = await node.command("report", "--json");
    assert.equal(code, 0, stderr);
    const report: Report = JSON.parse(stdout);
    assert.ok(report.verdicts.decrypt >= 1 && report.verdicts.drop >= 2, stdout);
    const page = await node.command("report", "--days", "1");
    assert.match(page.stdout, /no games/);
    const explained: Explanation = await node.api(`explain?host=games.${DOMAIN}&listener=site`);
    assert.equal(explained.verdict.action, "drop");
    assert.match(explained.assumed.join(), /policy\.monitor/);
    const refused = await node.command("report", "--days", "0");
    assert.deepEqual([refused.code, refused.stdout], [2, ""]);
  });
});
