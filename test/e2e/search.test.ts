import assert from "node:assert/strict";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "node:tls";
import type { Explanation, Session, SessionList } from "../../src/control/api.ts";
import { curl } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makeLeaf, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

/** Two servers with different names in their certificates, and clients with the SNI of one, of another host, or none. */
describe("The commands of a running node", needs("openssl", "nginx-light", "curl"), () => {
  let pki: Pki;
  let node: TestNode;
  const origins: Nginx[] = [];

  before(async () => {
    pki = await makePki();
    const shop = await makeLeaf(pki, "shop", "DNS:www.shop.test,DNS:api.shop.test,IP:127.0.0.1");
    const mail = await makeLeaf(pki, "mail", "DNS:mail.example.test,IP:127.0.0.1");
    origins.push(await nginx(shop), await nginx(mail));
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { shop: origins[0]!.port, mail: origins[1]!.port },
      config: { policy: { rules: [{ name: "private mail", match: { host: "mail.example.test" }, action: "bypass" }] } },
    });
    const visit = (way: string, url: string, roots: string) => curl({ port: node.forward(way) }, roots, [url]);
    for (const { code, stderr } of [
      await visit("shop", "https://www.shop.test/negotiated", node.primary),
      // A client sends no SNI for an address.
      await visit("shop", "https://127.0.0.1/negotiated", node.primary),
      await visit("mail", "https://mail.example.test/negotiated", pki.root.certificate),
    ]) {
      assert.equal(code, 0, stderr);
    }
    await node.session("www.shop.test");
    await node.session("mail.example.test");
  });
  after(async () => {
    await node?.stop();
    for (const { process } of origins) await process.stop();
  });

  async function found(...args: string[]): Promise<readonly Session[]> {
    const { code, stdout, stderr } = await node.command("sessions", ...args, "--json");
    assert.equal(code, 0, stderr);
    const answer = JSON.parse(stdout) as SessionList | Session[];
    return "sessions" in answer ? answer.sessions : answer;
  }

  for (const [pattern, listeners] of [
    ["www.shop.test", ["shop", "shop"]],
    ["WWW.Shop.Test", ["shop", "shop"]],
    ["*.shop.test", ["shop", "shop"]],
    ["api*", ["shop", "shop"]],
    ["mail*", ["mail"]],
    ["*.test", ["mail", "shop", "shop"]],
    ["shop.test", []],
    ["nowhere.test", []],
  ] as const) {
    test(`sessions --host ${pattern} finds ${listeners.length} sessions by SNI and certificate names`, async () => {
      assert.deepEqual((await found("--host", pattern)).map(({ listener }) => listener).sort(), listeners);
    });
  }

  test("sessions --sni leaves out what only a certificate names, and --host says what it found by one", async () => {
    const named = await found("--sni", "*.shop.test");
    assert.deepEqual(
      named.map(({ sni }) => sni),
      ["www.shop.test"],
    );
    assert.deepEqual(await found("--sni", "api.shop.test"), []);
    const { stdout } = await node.command("sessions", "--host", "api.shop.test");
    assert.match(stdout, /www\.shop\.test \(found by certificate\)/);
    assert.equal(stdout.match(/by certificate/g)?.length, 1, stdout);
  });

  test("sessions --subject finds by the distinguished name of the server's certificate", async () => {
    const [session] = await found("--sni", "www.shop.test");
    const { subject } = session!.certificate!;
    assert.equal((await found("--subject", subject.toUpperCase())).length, 2);
    assert.deepEqual(await found("--subject", "O=Nobody"), []);
  });

  test("sessions --verdict finds decrypted and bypassed sessions", async () => {
    assert.deepEqual(
      (await found("--verdict", "bypass")).map(({ sni }) => sni),
      ["mail.example.test"],
    );
    assert.equal((await found("--verdict", "decrypt")).length, 2);
  });

  test("sessions --client takes an address and a subnet", async () => {
    assert.equal((await found("--client", "127.0.0.1")).length, 3);
    assert.equal((await found("--client", "127.0.0.0/8")).length, 3);
    assert.deepEqual(await found("--client", "10.0.0.0/8"), []);
    const refused = await node.command("sessions", "--client", "localhost");
    assert.deepEqual([refused.code, refused.stdout], [2, ""]);
    assert.match(refused.stderr, /^client is "localhost", not an address or a subnet/);
  });

  test("sessions prints a table, and session prints one of them", async () => {
    const table = await node.command("sessions");
    assert.equal(table.code, 0);
    assert.match(table.stdout, /mail\.example\.test/);
    assert.match(table.stdout, /bypass/);
    const [bypassed] = await found("--verdict", "bypass");
    const one = await node.command("session", bypassed!.id);
    assert.equal(one.code, 0, one.stderr);
    assert.match(one.stdout, /private mail/);
    const none = await node.command("session", "no-such-id");
    assert.equal(none.code, 1);
  });

  for (const [host, verdict, rule] of [
    ["mail.example.test", "bypass", "private mail"],
    ["www.example.test", "decrypt", "default"],
  ] as const) {
    test(`explain --host ${host} says ${verdict}, and why`, async () => {
      const { code, stdout, stderr } = await node.command("explain", "--host", host, "--json");
      assert.equal(code, 0, stderr);
      const explanation = JSON.parse(stdout) as Explanation;
      assert.deepEqual([explanation.verdict.action, explanation.verdict.rule], [verdict, rule]);
      assert.match((await node.command("explain", "--host", host)).stdout, new RegExp(verdict));
    });
  }

  test("explain takes a certificate", async () => {
    const certificate = pki.faulty.expired.certificate;
    const { code, stdout, stderr } = await node.command(
      "explain",
      "--host",
      `x.${DOMAIN}`,
      "--certificate",
      certificate,
      "--json",
    );
    assert.equal(code, 0, stderr);
    const { verdict } = JSON.parse(stdout) as Explanation;
    assert.deepEqual([verdict.action, verdict.rule], ["drop", "certificate fault"]);
  });

  test("stats, ca show and cache show print text, and JSON with --json", async () => {
    for (const args of [["stats"], ["ca", "show"], ["cache", "show"]]) {
      const people = await node.command(...args);
      assert.equal(people.code, 0, people.stderr);
      assert.ok(people.stdout.length > 20);
      const machine = await node.command(...args, "--json");
      assert.equal(machine.code, 0, machine.stderr);
      JSON.parse(machine.stdout);
    }
  });

  test("ca export prints the primary CA's certificates and no key", async () => {
    const { code, stdout } = await node.command("ca", "export");
    assert.equal(code, 0);
    assert.match(stdout, /BEGIN CERTIFICATE/);
    assert.doesNotMatch(stdout, /PRIVATE/);
  });

  test("The token and the CA's keys can be read by the node's user only", () => {
    for (const file of ["token", "ca/primary-ecdsa.key", "ca/secondary-rsa.key"]) {
      assert.equal(statSync(join(node.folder, "data", file)).mode & 0o777, 0o600, file);
    }
  });

  test("explain and the record agree about the phase of a session that began with CONNECT", async () => {
    const way = { proxy: node.proxy, target: origins[1]!.port };
    const visited = await curl(way, pki.root.certificate, ["https://mail.example.test/negotiated"]);
    assert.equal(visited.code, 0, visited.stderr);
    const record = await until("the record", async () =>
      (await found("--listener", "proxy")).find(({ end }) => end !== null),
    );
    const { stdout } = await node.command("explain", "--host", "mail.example.test", "--json");
    const { verdict } = JSON.parse(stdout) as Explanation;
    assert.deepEqual([record.phase, record.rule], ["certificate", "private mail"]);
    assert.deepEqual([verdict.phase, verdict.rule], [record.phase, record.rule]);
  });

  test("The command end resets a live session, and its record says that an operator did", async () => {
    const host = "api.shop.test";
    const options = { port: node.forward("shop"), servername: host, rejectUnauthorized: false };
    const client = connect({ ...options, host: "127.0.0.1" });
    const left = once(client, "error");
    await once(client, "secureConnect");
    const live = await until("the live session", async () => (await found("--sni", host, "--live"))[0]);
    const { code, stdout } = await node.command("end", live.id);
    assert.deepEqual([code, stdout.trim()], [0, `The session ${live.id} ends.`]);
    assert.equal((await left)[0].code, "ECONNRESET");
    const { outcome, cause, blame, closeReason } = await until("its end", async () =>
      (await found("--sni", host)).find(({ end }) => end !== null),
    );
    const expected = ["decrypted", "endedByOperator", "node", "An operator ended the session"];
    assert.deepEqual([outcome, cause, blame, closeReason], expected);
    assert.equal((await node.command("end", live.id)).code, 1);
  });

  test("The API refuses a request without the token", async () => {
    assert.equal((await fetch(`${node.url}/sessions`)).status, 401);
    assert.equal((await fetch(`${node.url}/health`)).status, 200);
  });
});
