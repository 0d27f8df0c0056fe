import assert from "node:assert/strict";
import { createPublicKey, hash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { SuggestionInfo } from "../../src/control/api.ts";
import { curl, opensslClient, type Way } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

const LEARN = { policy: { learn: { action: "bypass", after: 3, for: "12h" } } };

/** Clients that refuse the certificate that the node presents. */
describe("A client that pins", needs("openssl", "curl", "nginx-light"), () => {
  let pki: Pki;
  let web: Nginx;
  let node: TestNode;
  let pin: string;
  const way = (): Way => ({ port: node.forward("web") });

  before(async () => {
    pki = await makePki();
    web = await nginx(pki.server.ecdsa);
    const spki = createPublicKey(readFileSync(pki.server.ecdsa.certificate)).export({ type: "spki", format: "der" });
    pin = `sha256//${hash("sha256", spki, "base64")}`;
    node = await startNode({ trust: [pki.root.certificate], forwards: { web: web.port } });
  });
  after(async () => {
    await node?.stop();
    await web?.process.stop();
  });

  /** A client that trusts only the server's own CA: it sends unknown_ca. */
  const strict = (name: string) => curl(way(), pki.root.certificate, [`https://${name}/negotiated`]);
  /** A client that trusts the node, and compares the server's key once the handshake is done: it leaves without a word. */
  const pinning = (name: string, version: string) =>
    curl(way(), node.primary, ["-k", "--tls-max", version, "--pinnedpubkey", pin, `https://${name}/negotiated`]);
  const suggestion = async (host: string, refusals: number) =>
    until(`${refusals} refusals of ${host}`, async () => {
      const all = await node.api<readonly SuggestionInfo[]>("suggestions");
      return all.find((one) => one.host === host && one.refusals >= refusals);
    });

  test("Repeated refusals become a suggestion with evidence, and nothing is learnt without policy.learn", async () => {
    const name = `suggested.${DOMAIN}`;
    for (const _ of [1, 2, 3, 4]) assert.notEqual((await strict(name)).code, 0);
    const found = await suggestion(name, 4);
    assert.deepEqual(
      [found.client, found.port, found.how, found.bypassedUntil],
      ["127.0.0.1", web.port, { unknown_ca: 4 }, null],
    );
    assert.match(found.remedy, /bypass list/);
    const { stdout } = await node.command("suggestions");
    assert.match(stdout, new RegExp(`${name}.*unknown_ca 4`));
  });

  test("A client that keeps its connection, or asks for something, suggests nothing", async () => {
    const name = `content.${DOMAIN}`;
    for (const _ of [1, 2, 3]) assert.equal((await curl(way(), node.primary, [`https://${name}/negotiated`])).code, 0);
    await until("its sessions", async () => {
      const sessions = await node.sessions({ sni: name });
      return sessions.length === 3 && sessions.every(({ end }) => end !== null);
    });
    const all = await node.api<readonly SuggestionInfo[]>("suggestions");
    assert.equal(
      all.find(({ host }) => host === name),
      undefined,
    );
  });

  test("policy.learn bypasses the host for this client after so many refusals, and says so", async () => {
    node.rewrite(LEARN);
    assert.equal((await node.command("reload")).code, 0);
    const name = `learnt.${DOMAIN}`;
    for (const _ of [1, 2, 3]) assert.notEqual((await strict(name)).code, 0);
    const { bypassedUntil } = await suggestion(name, 3);
    assert.ok(bypassedUntil! > Date.now() + 11 * 3_600_000);
    const { code, stderr } = await strict(name);
    assert.equal(code, 0, stderr);
    const last = await until("its record", async () => (await node.sessions({ host: name, verdict: "bypass" }))[0]);
    assert.deepEqual([last.rule, last.phase], ["learnt", "sni"]);
    assert.match(last.reason ?? "", /policy\.learn/);
  });

  for (const version of ["1.2", "1.3"]) {
    test(`A client that leaves right after the certificate is learnt too, TLS ${version}`, async () => {
      const name = `pinned-${version.replace(".", "-")}.${DOMAIN}`;
      for (const _ of [1, 2, 3]) assert.notEqual((await pinning(name, version)).code, 0);
      assert.deepEqual((await suggestion(name, 3)).how, { left: 3 });
      const { code, stderr } = await pinning(name, version);
      assert.equal(code, 0, stderr);
    });
  }

  test("A session that works in between begins the count anew", async () => {
    const name = `sometimes.${DOMAIN}`;
    for (const _ of [1, 2]) await strict(name);
    await suggestion(name, 2);
    await curl(way(), node.primary, [`https://${name}/negotiated`]);
    await until("the suggestion to go", async () => {
      const all = await node.api<readonly SuggestionInfo[]>("suggestions");
      return !all.some(({ host }) => host === name);
    });
  });

  test("A host on the decrypt list stays decrypted, whatever its clients refuse", async () => {
    const name = `listed.${DOMAIN}`;
    const file = "decrypt.txt";
    writeFileSync(`${node.folder}/${file}`, `${name}\n`);
    node.rewrite({ policy: { ...LEARN.policy, lists: { decrypt: [`./${file}`] } } });
    assert.equal((await node.command("reload")).code, 0);
    for (const _ of [1, 2, 3, 4]) assert.notEqual((await strict(name)).code, 0);
    await suggestion(name, 4);
    assert.notEqual((await strict(name)).code, 0);
  });

  test("What was learnt is forgotten with the cache", async () => {
    assert.equal((await node.command("cache", "flush", "pinning")).code, 0);
    const { code } = await opensslClient({ way: way(), name: `learnt.${DOMAIN}`, roots: node.primary });
    assert.equal(code, 0);
    assert.deepEqual(await node.api("suggestions"), []);
  });
});
