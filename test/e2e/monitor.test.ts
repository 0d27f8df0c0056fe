import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import type { Explanation, Report } from "../../src/control/api.ts";
import { curl, opensslClient } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { run, until } from "../processes.ts";

/** A policy that would decrypt, drop and fail, and clients that trust the servers' own CA only. */
describe("Monitor mode", needs("openssl", "nginx-light", "curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let site: Nginx;
  let old: Origin;
  let plain: http.Server;

  before(async () => {
    pki = await makePki();
    site = await nginx(pki.server.ecdsa);
    old = await opensslServer(pki.server.rsa, { version: "TLSv1.1" });
    plain = http.createServer((_, response) => response.end("plain")).listen(0, "127.0.0.1");
    await once(plain, "listening");
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { site: site.port, old: old.port, forbidden: site.port },
      config: {
        policy: {
          monitor: true,
          versions: { belowMin: "drop" },
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
