import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import type net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { Health } from "../../src/control/api.ts";
import { connectThrough, nextChunk } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { until } from "../processes.ts";

/** Beside 10 others a session is not decrypted; beside 8 half of them are; beside 6 all are. */
const CAPACITY = 20;
const OVERLOAD = { eventLoopDelay: "off", sessions: "50%" };
const [ALL, HALF, NONE] = [10, 8, 6];
const GET = `GET / HTTP/1.1\r\nHost: ${DOMAIN}\r\n\r\n`;

describe("An overloaded node", needs("openssl", "nginx-light"), () => {
  let node: TestNode;
  let origin: Nginx;
  const held: tls.TLSSocket[] = [];
  let named = 0;

  before(async () => {
    const pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        ...{ workers: 1, limits: { sessions: CAPACITY }, overload: OVERLOAD },
        policy: {
          lists: { decrypt: ["./decrypt.txt"] },
          page: {},
          rules: [
            { name: "no", match: { host: [`no.${DOMAIN}`] }, action: "drop" },
            { name: "strict", match: { host: [`strict.${DOMAIN}`] }, action: "decrypt", undecryptable: "drop" },
          ],
        },
      },
      prepare: (folder) => writeFileSync(join(folder, "decrypt.txt"), `always.${DOMAIN}\n`),
    });
  });
  after(async () => {
    for (const socket of held) socket.destroy();
    await node?.stop();
    await origin?.process.stop();
  });

  function fresh(): string {
    named += 1;
    return `s${named}.${DOMAIN}`;
  }

  /** Opens TLS, on a connection of its own or on this one. Rejects with the alert that the client got. */
  async function open(
    name: string,
    through?: net.Socket,
    version: tls.SecureVersion = "TLSv1.3",
  ): Promise<tls.TLSSocket> {
    const way = through ? { socket: through } : { host: "127.0.0.1", port: node.forward("web") };
    const socket = tls.connect({ ...way, servername: name, rejectUnauthorized: false, maxVersion: version });
    await once(socket, "secureConnect");
    socket.on("error", () => {});
    return socket;
  }

  /** Whether the node shows a certificate of its own. */
  const isDecrypted = (socket: tls.TLSSocket) => /Clearline/.test(JSON.stringify(socket.getPeerCertificate().issuer));

  async function leave(socket: tls.TLSSocket): Promise<void> {
    const others = held.length;
    socket.destroy();
    await until(`${others} live sessions`, async () => (await node.stats()).sessions.live === others);
  }

  async function hold(count: number): Promise<void> {
    while (held.length < count) held.push(await open(fresh()));
    while (held.length > count) held.pop()?.destroy();
    await until(`${count} live sessions`, async () => (await node.stats()).sessions.live === count);
  }

  /** One session, from its beginning to its end. */
  async function visit(name = fresh(), version?: tls.SecureVersion): Promise<boolean> {
    const socket = await open(name, undefined, version);
    const decrypted = isDecrypted(socket);
    await leave(socket);
    return decrypted;
  }

  const lines = (text: string) => node.process.output().split(text).length - 1;
  const BEGUN = "The node is overloaded";
  const ENDED = "The node is no longer overloaded";

  test("Beside enough others no new session is decrypted, in any version, and live ones go on", async () => {
    await hold(ALL);
    assert.ok(held.every(isDecrypted));
    const name = fresh();
    assert.deepEqual([await visit(fresh(), "TLSv1.2"), await visit(name)], [false, false]);
    for (const socket of held) {
      socket.write(GET);
      assert.match(String(await nextChunk(socket)), /^HTTP\/1\.1 /);
    }
    assert.partialDeepStrictEqual(await node.session(name), {
      ...{ verdict: "bypass", phase: "sni", rule: "overload", outcome: "bypassed", cause: "overload", blame: null },
      reason: "The node is overloaded: it met overload.sessions (50%); overload.action is bypass",
    });
  });

  test("A session in a proxy's tunnel is bypassed, too", async () => {
    const { socket } = await connectThrough(node.proxy, `127.0.0.1:${origin.port}`);
    const name = fresh();
    const inside = await open(name, socket);
    assert.equal(isDecrypted(inside), false);
    await leave(inside);
    assert.partialDeepStrictEqual(await node.session(name), {
      verdict: "bypass",
      phase: "certificate",
      rule: "overload",
    });
  });

  test("Drop rules hold, in tunnels too, and what policy drops when it cannot be decrypted is dropped", async () => {
    await assert.rejects(open(`no.${DOMAIN}`));
    const { socket } = await connectThrough(node.proxy, `127.0.0.1:${origin.port}`);
    await assert.rejects(open(`no.${DOMAIN}`, socket));
    await assert.rejects(open(`strict.${DOMAIN}`), { code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
    const dropped = await until("three sessions that were dropped", async () => {
      const sessions = await node.sessions({ verdict: "drop" });
      return sessions.length === 3 && sessions.every(({ end }) => end !== null) && sessions;
    });
    assert.deepEqual(dropped.map(({ rule }) => rule).sort(), ["no", "no", "overload"]);
    assert.deepEqual(dropped.find(({ rule }) => rule === "overload")?.outcome, "dropped");
  });

  test("What is on the decrypt list is decrypted", async () => assert.equal(await visit(`always.${DOMAIN}`), true));

  test("It says so: health, statistics, metrics, explain, and one line of the log", async () => {
    const one = await open(fresh());
    await until("the overload", async () => {
      const { level, dropped, measures } = (await node.stats()).overload;
      // The worker reports what it measures now and then: at first without the last of the sessions.
      return (
        level === "all" &&
        dropped === 1 &&
        measures.some(({ measure, value }) => measure === "sessions" && value === 0.5)
      );
    });
    const { reasons, status } = await node.api<Health>("health");
    const found = reasons.find(({ fact }) => fact === "overload");
    assert.equal(status, "degraded");
    assert.match(found?.reason ?? "", /Worker 0 is overloaded \(overload\.sessions\): all new sessions are bypassed/);
    const { overload } = await node.stats();
    assert.partialDeepStrictEqual(overload, { action: "bypass", workers: [0], dropped: 1 });
    assert.partialDeepStrictEqual(
      overload.measures.find(({ measure }) => measure === "sessions"),
      { value: 0.5, threshold: 0.5, level: "all" },
    );
    assert.match((await node.command("stats")).stdout, /Overload +all of the new sessions now \(sessions\)/);
    const metrics = await node.api<string>("../../metrics");
    assert.match(metrics, /^clearline_overload_level\{worker="0"\} 1$/m);
    assert.match(metrics, /^clearline_overload_sessions_total\{action="bypass"\} [3-9]$/m);
    const explained = await node.command("explain", "--listener", "web", "--host", fresh());
    assert.match(explained.stdout, /bypass[\s\S]*overload/);
    assert.deepEqual([lines(BEGUN), lines(ENDED)], [1, 0]);
    await leave(one);
  });

  test("With overload.action drop the client gets an alert", async () => {
    node.rewrite({ overload: { ...OVERLOAD, action: "drop" } });
    await node.api("reload", "POST");
    await assert.rejects(open(fresh()), { code: "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR" });
    node.rewrite({});
    await node.api("reload", "POST");
    await hold(ALL);
  });

  test("Beside fewer others every second one is decrypted, then all are, and the log has one more line", async () => {
    assert.equal(await visit(), false);
    await hold(HALF);
    const some = [await visit(), await visit(), await visit(), await visit()];
    assert.deepEqual(some.toSorted(), [false, false, true, true]);
    assert.notEqual(some[0], some[1]);
    await hold(NONE);
    assert.deepEqual([await visit(), await visit()], [true, true]);
    await until("the end of it", async () => (await node.stats()).overload.level === "none");
    await until("the line about its end", () => lines(ENDED) === 1);
    assert.equal(lines(BEGUN), 1);
    const { reasons } = await node.api<Health>("health");
    assert.ok(!reasons.some(({ fact }) => fact === "overload"));
  });
});
