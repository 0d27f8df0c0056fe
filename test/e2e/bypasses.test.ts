import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { AddedBypass, BypassInfo, Explanation, Preview } from "../../src/control/api.ts";
import { curl } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

/** Bypasses with an end, at a node with two workers. */
describe("A bypass with an end", needs("openssl", "curl", "nginx-light"), () => {
  let pki: Pki;
  let web: Nginx;
  let node: TestNode;

  before(async () => {
    pki = await makePki();
    web = await nginx(pki.server.ecdsa);
    const blocked = { name: "blocked", match: { host: `blocked.${DOMAIN}` }, action: "drop" };
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: web.port },
      config: { workers: 2, policy: { rules: [blocked] } },
    });
  });
  after(async () => {
    await node?.stop();
    await web?.process.stop();
  });

  /** Who signed the certificate that the client accepted: the server's own CA where the session is bypassed. */
  const signerFor = async (name: string): Promise<"server" | "node" | "none"> => {
    const goes = async (roots: string) =>
      (await curl({ port: node.forward("web") }, roots, [`https://${name}/negotiated`])).code === 0;
    if (await goes(pki.root.certificate)) return "server";
    return (await goes(node.primary)) ? "node" : "none";
  };
  const add = (entry: string, time: string) =>
    node.api<AddedBypass>("bypasses", "POST", { entry, for: time, comment: "pins its key" });
  const listed = async (entry: string) => (await node.api<BypassInfo[]>("bypasses")).find((one) => one.entry === entry);

  test("A host is bypassed at once in all workers, is shown by its own name, and is decrypted again once that is removed", async () => {
    const name = `app.${DOMAIN}`;
    assert.equal(await signerFor(name), "node");
    const because = ["--because", "pins its key", "--json"];
    const { code, stdout, stderr } = await node.command(
      "bypass",
      "add",
      name.toUpperCase(),
      "--for",
      "24h",
      ...because,
    );
    assert.equal(code, 0, stderr);
    const { bypass } = JSON.parse(stdout) as AddedBypass;
    assert.equal(bypass.entry, name);
    // Many connections, so that each worker gets some.
    for (let time = 0; time < 8; time += 1) assert.equal(await signerFor(name), "server");
    const workers = await until("eight recorded sessions", async () => {
      const found = (await node.sessions({ sni: name })).filter(({ rule }) => rule === `bypass ${bypass.id}`);
      return found.length === 8 && found;
    });
    assert.deepEqual([...new Set(workers.map(({ worker }) => worker))].sort(), [0, 1]);
    assert.match(workers[0]!.reason ?? "", new RegExp(`^owner bypasses ${name} until .* UTC: pins its key$`));
    assert.equal((await listed(name))?.hits, 8);
    const shown = await node.command("bypass", "list");
    assert.match(shown.stdout, new RegExp(`^${bypass.id} +${name} .* 8 .*pins its key$`, "m"));
    const explained = await node.command("explain", "--host", name, "--listener", "web");
    assert.match(explained.stdout, new RegExp(`by bypass ${bypass.id}\n.*pins its key`));
    assert.match((await node.command("bypass", "remove", name)).stdout, /has ended/);
    assert.equal(await signerFor(name), "node");
    assert.equal((await node.command("bypass", "remove", name)).code, 1);
  });

  test("Through the proxy a host is bypassed in the certificate phase, and counted once", async () => {
    const host = `tunnel.${DOMAIN}`;
    const { bypass } = await add(host, "1h");
    const way = { proxy: node.proxy, target: web.port };
    const { code, stderr } = await curl(way, pki.root.certificate, [`https://${host}/negotiated`]);
    assert.equal(code, 0, stderr);
    const { verdict, phase, rule, outcome } = await node.session(host);
    assert.deepEqual([verdict, phase, rule, outcome], ["bypass", "certificate", `bypass ${bypass.id}`, "bypassed"]);
    assert.equal((await listed(bypass.entry))?.hits, 1);
  });

  test("A worker that is started again has the bypasses", async () => {
    const name = `again.${DOMAIN}`;
    await add(name, "1h");
    const { workers } = await node.stats();
    for (const { pid } of workers) process.kill(pid, "SIGKILL");
    await until("new workers", async () =>
      (await node.stats()).workers.every(({ restarts, memory }) => restarts === 1 && memory !== undefined),
    );
    for (let time = 0; time < 4; time += 1) assert.equal(await signerFor(name), "server");
  });

  test("It ends on time, without a reload", async () => {
    const name = `short.${DOMAIN}`;
    await add(name, "1s");
    await until("its end", async () => (await listed(name)) === undefined);
    assert.equal(await signerFor(name), "node");
    await node.process.shows(/The bypass [0-9a-f]{8} of short\..* has ended/, 5_000);
  });

  test("A drop rule comes first, which is said when the bypass is added, and in explanations", async () => {
    const name = `blocked.${DOMAIN}`;
    const { notes, bypass } = await add(name, "1h");
    assert.match(notes.join(), /^The rule blocked drops blocked\..* all the same/);
    assert.equal(await signerFor(name), "none");
    const { verdict, entries } = await node.api<Explanation>(`explain?host=${name}&listener=web`);
    assert.equal(verdict.rule, "blocked");
    assert.match(entries.find((one) => one.name === `bypass ${bypass.id}`)?.reason ?? "", /pins its key/);
  });

  test("An address is bypassed in the network phase", async () => {
    const { bypass } = await add("127.0.0.0/8", "ever");
    const name = `address.${DOMAIN}`;
    assert.equal(await signerFor(name), "server");
    const found = await until("its session", async () =>
      (await node.sessions({ listener: "web" })).find(({ rule }) => rule === `bypass ${bypass.id}`),
    );
    assert.deepEqual([found.verdict, found.phase, bypass.expires], ["bypass", "network", null]);
    await node.command("bypass", "remove", bypass.id);
  });

  test("A preview says what a bypass, a list or a changed file would have decided, and changes nothing", async () => {
    const name = `preview.${DOMAIN}`;
    // A client that trusts the server's CA alone refuses the node's, then another one goes on.
    assert.equal(await signerFor(name), "node");
    await until("both sessions in the history", async () => {
      const found = await node.sessions({ sni: name });
      return found.length === 2 && found.every(({ end }) => end !== null);
    });
    const preview = async (...args: string[]) => {
      const { code, stdout, stderr } = await node.command("policy", "preview", ...args, "--json");
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout) as Preview;
    };
    const { covered, changes } = await preview("--bypass", name, "--hours", "1");
    assert.deepEqual(covered, { failed: 1, good: 1, dropped: 0, live: 0 });
    assert.deepEqual(
      changes.map(({ before, after, sessions }) => [before.verdict, before.rule, after.verdict, sessions]),
      [["decrypt", "default", "bypass", 2]],
    );
    assert.equal(changes[0]?.examples[0]?.host, name);

    const list = join(node.folder, "more.txt");
    writeFileSync(list, `${name}\n`);
    const file = join(node.folder, "changed.yaml");
    const listeners = [{ name: "web", mode: "explicit", address: "127.0.0.1:1" }];
    const rules = [{ name: "no", match: { host: `*.${DOMAIN}` }, action: "drop" }];
    writeFileSync(file, JSON.stringify({ listeners, policy: { lists: { bypass: ["more.txt"] }, rules } }));
    const listed = await preview("--list", list);
    assert.deepEqual(listed.covered, covered);
    const { changes: dropped } = await preview(file);
    const ofDefault = dropped.find(({ before }) => before.rule === "default");
    assert.deepEqual([ofDefault?.after.verdict, ofDefault?.after.rule], ["drop", "no"]);
    const shown = await node.command("policy", "preview", "--bypass", name);
    assert.match(shown.stdout, /A bypass would have covered 1 failed, 1 good and 0 dropped ones\./);
    assert.equal(await signerFor(name), "node");
  });

  test("What is wrong with a bypass is said, and changes nothing", async () => {
    const before = await node.api<BypassInfo[]>("bypasses");
    const { code, stderr } = await node.command("bypass", "add", "https://a.example/", "--for", "1h", "--because", "x");
    assert.equal(code, 2);
    assert.match(stderr, /^entry is "https:.*neither a host name/);
    assert.equal((await node.api<BypassInfo[]>("bypasses")).length, before.length);
  });
});
