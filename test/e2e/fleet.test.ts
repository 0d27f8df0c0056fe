import assert from "node:assert/strict";
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Redis } from "iovalkey";
import type { AuthorityInfo, BypassInfo, FleetNodes, FleetSessions, Health } from "../../src/control/api.ts";
import { curl, GET, opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer, redisServer } from "../peers.ts";
import { DOMAIN, type Identity, makeAuthority, makePki, type Pki } from "../pki.ts";
import { freePort, scratch, until } from "../processes.ts";
import { fresh, neverResumes, spoil, type Visit, visit } from "../visits.ts";

const WAYS = [
  ["an identifier in TLS 1.2", "TLSv1.2", false],
  ["a ticket in TLS 1.2", "TLSv1.2", true],
  ["a ticket in TLS 1.3", "TLSv1.3", true],
] as const;

describe("Nodes that share a store", needs("openssl", "redis-server", "curl"), () => {
  let pki: Pki;
  let signing: Identity;
  let store: Origin;
  let web: Origin;
  let demanding: Origin;
  let one: TestNode;
  let two: TestNode;
  const nodes: TestNode[] = [];

  /** A node of the fleet. Its clients trust the CA that all nodes sign with. */
  const joinFleet = async (node: string, more: object = {}) => {
    const started = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: web.port, demanding: demanding.port },
      config: {
        signing: { primary: signing },
        resumption: { tickets: true, shared: `redis://127.0.0.1:${store.port}`, node, wait: "1s", ...more },
      },
    });
    const member = { ...started, primary: signing.certificate };
    nodes.push(member);
    await until(`${node} at the store`, async () => (await healthOf(member)) === "connected");
    return member;
  };
  const healthOf = async (node: TestNode) => ((await (await fetch(`${node.url}/health`)).json()) as Health).store;

  before(async () => {
    pki = await makePki();
    signing = await makeAuthority(pki, "Fleet CA");
    web = await opensslServer(pki.server.ecdsa);
    const demand = ["-Verify", "1", "-verify_return_error", "-CAfile", pki.root.certificate];
    demanding = await opensslServer(pki.server.ecdsa, { version: "TLSv1.2", more: demand });
    store = await redisServer(await freePort());
    one = await joinFleet("one");
    two = await joinFleet("two");
  });
  after(async () => {
    for (const node of nodes) await node.stop();
    for (const { process } of [store, web, demanding]) await process?.stop();
  });

  const visitOf = (version: "TLSv1.2" | "TLSv1.3", tickets: boolean) => {
    const visited = { ...fresh("fleet"), version, tickets };
    return (node: TestNode, again: boolean) =>
      visit(again, { ...visited, node, port: node.forward("web") }).then(({ resumed }) => resumed);
  };

  /** A node waits for the store for a moment only: then the handshake is a full one, and the client still has the session. */
  const resumes = (again: () => Promise<boolean>) => until("a resumed session", again);

  for (const [how, version, tickets] of WAYS) {
    // Sessions belong to a listener's name, not to its port.
    test(`With ${how} a client that began on one node resumes on the other`, async () => {
      const go = visitOf(version, tickets);
      assert.equal(await go(one, false), false);
      await resumes(() => go(two, true));
      await resumes(() => go(one, true));
    });

    test(`With ${how} a client resumes on neither node once one of them has flushed`, async () => {
      const go = visitOf(version, tickets);
      await go(one, false);
      await resumes(() => go(two, true));
      const { code, stderr } = await two.command("cache", "flush", tickets ? "tickets" : "sessions");
      assert.equal(code, 0, stderr);
      await until("a full handshake on the other node", async () => !(await go(one, true)));
      assert.equal(await go(two, true), false);
    });
  }

  test("No node resumes a session that a fatal alert has ended on one of them", async () => {
    const visited = { ...fresh("broken"), version: "TLSv1.2" } as const;
    const at = (node: TestNode) => ({ ...visited, node, port: node.forward("web") });
    await visit(false, at(one));
    await spoil(at(two));
    // A worker of the first node still has the session until it gets the news.
    await until("full handshakes in a row", () => neverResumes(6, () => visit(true, at(one))));
    assert.equal((await visit(true, at(two))).resumed, false);
  });

  test("A server's certificate is issued once for all nodes", async () => {
    const { name } = fresh("minted");
    const seen: (string | undefined)[] = [];
    for (const node of [one, two]) {
      const outcome = await curl({ port: node.forward("web") }, signing.certificate, [`https://${name}/`]);
      assert.equal(outcome.code, 0, outcome.stderr);
      seen.push((await node.session(name)).presented?.sha256);
    }
    assert.ok(seen[0] !== undefined && seen[0] === seen[1], `${seen}`);
  });

  test("The nodes share what one of them learns about a server", async () => {
    const { name } = fresh("demands");
    const go = (node: TestNode) =>
      opensslClient({ way: { port: node.forward("demanding") }, name, roots: pki.root.certificate, input: GET });
    await go(one);
    assert.equal((await one.session(name)).rule, "client certificate");
    await until("the other node's knowledge", async () => {
      const caches = await two.api<{ name: string; size: number }[]>("caches");
      return caches.some((cache) => cache.name === "demanding" && cache.size > 0);
    });
    await go(two);
    const { verdict, phase, rule } = await two.session(name);
    assert.deepEqual({ verdict, phase, rule }, { verdict: "bypass", phase: "sni", rule: "client certificate" });

    const late = await joinFleet("late");
    await until("the knowledge of a node that came later", async () => {
      const caches = await late.api<{ name: string; size: number }[]>("caches");
      return caches.some((cache) => cache.name === "demanding" && cache.size > 0);
    });
  });

  /** The bytes that the store has under names with this part, and a way to put them back. */
  const recorded = async (part: string) => {
    const client = new Redis(store.port);
    const keys = await client.keys(`clearline:*:${part}:*`);
    const values = await Promise.all(keys.map(async (key) => [key, await client.getBuffer(key)] as const));
    client.disconnect();
    return async () => {
      const again = new Redis(store.port);
      for (const [key, value] of values) await again.set(key, value!, "PX", 600_000);
      again.disconnect();
    };
  };

  for (const [how, end] of [
    ["was forgotten", (visited: Visit) => spoil(visited)],
    ["was flushed", () => two.command("cache", "flush", "sessions")],
  ] as const) {
    test(`A session that ${how} is not resumed when the store brings it back`, async () => {
      const visited = { ...fresh("restored"), version: "TLSv1.2" } as const;
      const at = (node: TestNode) => ({ ...visited, node, port: node.forward("web") });
      await visit(false, at(one));
      await resumes(async () => (await visit(true, at(two))).resumed);
      const bringBack = await recorded("s");
      await end(at(two));
      for (const node of [one, two])
        await until("full handshakes in a row", () => neverResumes(6, () => visit(true, at(node))));
      await bringBack();
      for (const node of [one, two]) assert.ok(await neverResumes(6, () => visit(true, at(node))));
    });
  }

  test("A message that the store repeats is ignored, and logged", async () => {
    const { name } = fresh("repeated");
    const go = () =>
      opensslClient({ way: { port: one.forward("demanding") }, name, roots: pki.root.certificate, input: GET });
    const known = async () => {
      const caches = await one.api<{ name: string; size: number }[]>("caches");
      return caches.find((cache) => cache.name === "demanding")?.size ?? 0;
    };
    const [listener, client] = [new Redis(store.port), new Redis(store.port)];
    try {
      const heard: (readonly [channel: Buffer, message: Buffer])[] = [];
      listener.on("pmessageBuffer", (_pattern: string, ...news: [Buffer, Buffer]) => heard.push(news));
      await listener.psubscribe("clearline:*");
      // The node two tells the others, among them one.
      assert.equal((await two.command("cache", "flush", "demanding")).code, 0);
      await until("the flush at the other node", async () => heard.length > 0 && (await known()) === 0);
      await go();
      await until("what one learnt", async () => (await known()) > 0);
      for (const [channel, message] of heard) await client.publish(channel, message);
      await one.process.shows(/"msg":"The store repeated a message of another node, or .*; it is ignored"/, 5_000);
      assert.ok((await known()) > 0);
    } finally {
      for (const redis of [listener, client]) redis.disconnect();
    }
  });

  test("Nodes with the same CA follow each other to the next one, those that come later too, and others do not", async () => {
    const secret = join(scratch(), "secret");
    writeFileSync(secret, "a secret of this fleet, of thirty-two bytes or more", { mode: 0o600 });
    const joinWith = async (node: string, like?: TestNode) => {
      const prepare = (folder: string) => {
        if (like) cpSync(join(like.folder, "data/ca"), join(folder, "data/ca"), { recursive: true });
        chmodSync(join(folder, like ? "data" : "."), 0o700);
      };
      const resumption = { shared: `redis://127.0.0.1:${store.port}`, node, secret };
      const started = await startNode({ trust: [], prepare, config: { workers: 1, resumption } });
      nodes.push(started);
      return started;
    };
    const stateOf = async (node: TestNode) =>
      (await node.api<AuthorityInfo[]>("ca"))
        .filter(({ role }) => role === "primary")
        .map(({ stage, sha256 }) => `${stage} ${sha256}`);
    const isLike = async (node: TestNode, other: TestNode) => `${await stateOf(node)}` === `${await stateOf(other)}`;
    const ask = async (node: TestNode, ...command: string[]) =>
      assert.equal((await node.command("ca", ...command)).code, 0);

    const first = await joinWith("first");
    const [second, stranger] = [await joinWith("second", first), await joinWith("stranger")];
    const untouched = await stateOf(stranger);
    const beginning = scratch();
    cpSync(join(first.folder, "data"), join(beginning, "data"), { recursive: true });
    await ask(first, "next");
    await until("the next CA at the second node", () => isLike(second, first));
    assert.equal((await stateOf(second)).length, 4);
    await ask(second, "activate");
    await until("the new CA at the first node", () => isLike(first, second));
    assert.equal((await stateOf(first)).length, 2);
    // It has the CA of the beginning.
    const late = await joinWith("late", { ...first, folder: beginning });
    await until("the new CA at a node that came late", () => isLike(late, first));
    assert.deepEqual(await stateOf(stranger), untouched);
    await stranger.process.shows(/this node has another one: it does not follow/);
  });

  test("The store sees neither keys nor names nor addresses", async () => {
    const go = visitOf("TLSv1.2", false);
    await go(one, false);
    const client = new Redis(store.port);
    const keys = await client.keys("*");
    const values = await Promise.all(keys.map((key) => client.getBuffer(key)));
    client.disconnect();
    for (const kind of ["s", "m", "t", "d", "n"]) {
      assert.ok(
        keys.some((key) => key.split(":")[2] === kind),
        `nothing of ${kind} among ${keys}`,
      );
    }
    const all = Buffer.concat([...keys.map((key) => Buffer.from(key)), ...values.map((value) => value!)]);
    for (const secret of ["PRIVATE", "CERTIFICATE", DOMAIN, "127.0.0.1", "from", "server"]) {
      assert.ok(!all.includes(secret), `${secret} can be read in the store`);
    }
    assert.ok(keys.every((key) => /^clearline:[\w-]{16}:/.test(key)));
  });

  test("A node with another secret shares nothing", async () => {
    const secret = join(scratch(), "secret");
    writeFileSync(secret, "another secret, of thirty-two bytes or more", { mode: 0o600 });
    const stranger = await joinFleet("stranger", { secret });
    for (const [, version, tickets] of WAYS) {
      const go = visitOf(version, tickets);
      await go(one, false);
      assert.equal(await go(stranger, true), false);
    }
    const { nodes: seen } = await stranger.api<FleetSessions>("fleet/sessions");
    assert.deepEqual(
      seen.map(({ name }) => name),
      ["stranger"],
    );
  });

  test("Every node's sessions and health are shown at any node, and a node that does not answer is named", async () => {
    const { name } = fresh("seen");
    for (const node of [one, two]) {
      await curl({ port: node.forward("web") }, signing.certificate, [`https://${name}/`]);
      await node.session(name);
    }
    const { stdout } = await one.command("sessions", "--fleet", "--host", name, "--json");
    const answered = (JSON.parse(stdout) as FleetSessions).nodes.filter(({ name: node }) => node !== "late");
    assert.deepEqual(
      // The search also finds sessions by the names in the certificate.
      answered.map((node) => [
        node.name,
        node.answered,
        node.sessions.map(({ sni }) => sni).filter((sni) => sni === name),
      ]),
      [
        ["one", true, [name]],
        ["two", true, [name]],
      ],
    );
    const shown = await one.command("sessions", "--fleet", "--host", name);
    assert.match(shown.stdout, new RegExp(`^one +.*${name}`, "m"));
    assert.match(shown.stdout, new RegExp(`^two +.*${name}`, "m"));

    const rowsOf = ({ nodes: rows }: FleetNodes) =>
      rows.filter((row) => row.name !== "late").map((row) => [row.name, row.self, row.answered, row.api]);
    const fleet = await two.api<FleetNodes>("fleet");
    assert.deepEqual(
      [fleet.store, rowsOf(fleet)],
      [
        "connected",
        [two, one].map((node) => [node === two ? "two" : "one", node === two, true, new URL(node.url).origin]),
      ],
    );
    for (const row of fleet.nodes) {
      assert.ok(row.version && row.health && row.since > 0 && row.live !== null, row.name);
      assert.ok(Number.isInteger(row.outcomes?.decrypted), row.name);
    }

    process.kill(two.process.pid, "SIGSTOP");
    try {
      const without = await one.command("sessions", "--fleet", "--host", name);
      assert.match(without.stdout, /^Node two did not answer in time/m);
      assert.deepEqual(rowsOf(await one.api<FleetNodes>("fleet"))[1], ["two", false, false, null]);
    } finally {
      process.kill(two.process.pid, "SIGCONT");
    }
  });

  test("Without a store there is no other node, and sessions --fleet fails", async () => {
    await using alone = await startNode({ trust: [] });
    const { code, stderr } = await alone.command("sessions", "--fleet");
    assert.notEqual(code, 0);
    assert.match(stderr, /resumption\.shared is not set/);
    const { store: none, nodes: rows } = await alone.api<FleetNodes>("fleet");
    assert.deepEqual([none, rows.map(({ self, answered }) => [self, answered])], [null, [[true, true]]]);
    assert.match((await alone.command("fleet")).stdout, /\(this\) .*shares nothing with others/s);
    assert.equal(await healthOf(alone), undefined);
  });

  const bypassesOf = async (node: TestNode) => (await node.api<BypassInfo[]>("bypasses")).map(({ entry }) => entry);
  const addBypass = (node: TestNode, entry: string) =>
    node.api("bypasses", "POST", { entry, for: "1h", comment: "tested" });
  const removeBypass = (node: TestNode, entry: string) => node.api(`bypasses/${entry}`, "DELETE");

  test("A bypass that is added or removed at one node holds at the other", async () => {
    const { name } = fresh("bypassed");
    const signer = async () =>
      (await curl({ port: two.forward("web") }, pki.root.certificate, [`https://${name}/`])).code === 0;
    await addBypass(one, name);
    await until("the bypass at the other node", signer);
    const [bypass] = await two.api<BypassInfo[]>("bypasses");
    assert.deepEqual([bypass?.entry, bypass?.author, bypass?.comment], [name, "owner", "tested"]);
    await removeBypass(two, name);
    await until("its end at the first node", async () => !(await bypassesOf(one)).includes(name));
    assert.equal(await signer(), false);
  });

  test("Nodes go on without a store that hangs, and use it again when it answers", async () => {
    const late = `late.${DOMAIN}`;
    await addBypass(one, late);
    await until("the bypass at the other node", async () => (await bypassesOf(two)).includes(late));
    process.kill(store.process.pid, "SIGSTOP");
    try {
      await until(
        "both nodes alone",
        async () => (await healthOf(one)) === "alone" && (await healthOf(two)) === "alone",
      );
      const go = visitOf("TLSv1.2", false);
      assert.equal(await go(one, false), false);
      assert.equal(await go(one, true), true);
      assert.equal(await go(two, true), false);
      await removeBypass(one, late);
      await addBypass(two, `meanwhile.${DOMAIN}`);
    } finally {
      process.kill(store.process.pid, "SIGCONT");
    }
    await until(
      "both nodes back",
      async () => (await healthOf(one)) === "connected" && (await healthOf(two)) === "connected",
    );
    for (const node of [one, two])
      await until("the bypasses that the nodes changed while they were alone", async () => {
        const entries = await bypassesOf(node);
        return entries.includes(`meanwhile.${DOMAIN}`) && !entries.includes(late);
      });
    const go = visitOf("TLSv1.2", false);
    await go(one, false);
    await resumes(() => go(two, true));
  });

  test("Nodes go on without a store that has ended, log it, and use it again when it is back", async () => {
    await store.process.stop();
    await until("both nodes alone", async () => (await healthOf(one)) === "alone" && (await healthOf(two)) === "alone");
    for (const [, version, tickets] of WAYS) {
      const go = visitOf(version, tickets);
      assert.equal(await go(one, false), false);
      assert.equal(await go(one, true), true);
    }
    assert.match(one.process.output(), /goes on alone/);
    const metrics = await (await fetch(new URL("/metrics", one.url), { headers: tokenOf(one) })).text();
    assert.match(metrics, /^clearline_store_connected 0$/m);

    store = await redisServer(store.port);
    await until(
      "both nodes back",
      async () => (await healthOf(one)) === "connected" && (await healthOf(two)) === "connected",
    );
    for (const [how, version, tickets] of WAYS) {
      await until(`${how} on the other node`, async () => {
        const go = visitOf(version, tickets);
        await go(one, false);
        return await go(two, true);
      });
    }
  });
});

function tokenOf({ folder }: TestNode): Record<string, string> {
  return { authorization: `Bearer ${readFileSync(join(folder, "data/token"), "utf8").trim()}` };
}
