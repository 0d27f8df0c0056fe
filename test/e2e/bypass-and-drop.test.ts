import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { PolicyOrder } from "../../src/control/api.ts";
import { opensslClient, tunnel } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer, type TlsVersion } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { type Tap, tap } from "../tap.ts";

const HOSTS = ["old", "new"].flatMap((name) => ["explicit", "forward"].map((way) => `${name}-${way}.${DOMAIN}`));
const EARLY = HOSTS.map((host) => `early-${host}`);
const LATE = HOSTS.map((host) => `late-${host}`);

/** The way through two recorders: client, tap, node, tap, server. */
describe("Bypass and drop", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  const origins = new Map<TlsVersion, { server: Origin; before: Tap }>();

  before(async () => {
    pki = await makePki();
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const server = await opensslServer(pki.server.ecdsa, { version });
      origins.set(version, { server, before: await tap(server.port) });
    }
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { old: origins.get("TLSv1.2")!.before.port, new: origins.get("TLSv1.3")!.before.port },
      config: {
        policy: {
          rules: [
            { name: "early", match: { host: EARLY }, action: "bypass" },
            { name: "late", match: { host: LATE, issuer: "*Test Root*" }, action: "bypass" },
            { name: "no", match: { host: `no.${DOMAIN}` }, action: "drop" },
            { name: "no, late", match: { host: `no-late.${DOMAIN}`, issuer: "*Test Root*" }, action: "drop" },
          ],
        },
      },
    });
  });
  after(async () => {
    await node?.stop();
    for (const { server, before } of origins.values()) {
      before.close();
      await server.process.stop();
    }
  });

  for (const [version, listener] of [
    ["TLSv1.2", "old"],
    ["TLSv1.3", "new"],
  ] as const) {
    for (const way of ["explicit", "forward"]) {
      for (const [phase, host, connections] of [
        ["sni", `early-${listener}-${way}.${DOMAIN}`, 1],
        ["certificate", `late-${listener}-${way}.${DOMAIN}`, 2],
      ] as const) {
        // A flow that begins with CONNECT commits its verdict in the certificate phase.
        const committed = way === "explicit" ? "certificate" : phase;
        test(`After a bypass by a ${phase} rule, the server sees the client's own bytes, ${version}, ${way}`, async () => {
          const { before } = origins.get(version)!;
          const earlier = before.connections.length;
          await using path = way === "explicit" ? await tunnel(node.proxy, before.port) : undefined;
          const client = await tap(path?.port ?? node.forward(listener));
          const { code, stdout, stderr } = await opensslClient({
            way: { port: client.port },
            name: host,
            roots: pki.root.certificate,
            version,
          });
          client.close();
          assert.equal(code, 0, stderr);
          assert.match(stdout, /subject=CN = ecdsa/);

          const seen = before.connections.slice(earlier);
          assert.equal(seen.length, committed === "certificate" ? 2 : connections);
          const sent = client.connections[0]!;
          const last = seen.at(-1)!;
          assert.ok(last.fromClient.equals(sent.fromClient), "the client's bytes arrived as they were");
          assert.ok(last.fromServer.equals(sent.fromServer), "the server's bytes arrived as they were");
          assert.ok(sent.fromClient.length > 200);

          const session = await node.session(host);
          assert.deepEqual(
            [session.verdict, session.phase, session.rule, session.presented],
            ["bypass", committed, phase === "sni" ? "early" : "late", null],
          );
          assert.equal(session.clientLeg.received, sent.fromClient.length);
          assert.equal(session.clientLeg.sent, sent.fromServer.length);
        });
      }
    }
  }

  test("No certificate was issued for bypassed sessions", async () => {
    assert.equal((await node.stats()).mint.minted, 0);
  });

  for (const [phase, host] of [
    ["sni", `no.${DOMAIN}`],
    ["certificate", `no-late.${DOMAIN}`],
  ] as const) {
    test(`A drop in the ${phase} phase ends the handshake with an alert`, async () => {
      const way = { port: node.forward("new") };
      const { connections } = origins.get("TLSv1.3")!.before;
      const earlier = connections.length;
      const { code, stderr } = await opensslClient({ way, name: host, roots: node.primary });
      assert.notEqual(code, 0);
      assert.match(stderr, /alert access denied|alert number 49/);
      const session = await node.session(host);
      assert.deepEqual([session.verdict, session.phase], ["drop", phase]);
      assert.equal(session.rule, phase === "sni" ? "no" : "no, late");
      assert.equal(session.presented, null);
      assert.equal(session.clientLeg.alertSent, "access_denied", "there was no TLS on that leg yet");
      // Data can leave in a server name: only where the rule needs the server's certificate is it sent on.
      const told = connections.slice(earlier).some(({ fromClient }) => fromClient.length > 0);
      assert.equal(told, phase === "certificate");
    });
  }

  test("Each entry of the policy counts the sessions that it decided, and each process how late it was", async () => {
    const { order } = await node.api<PolicyOrder>("policy");
    const hits = new Map(order.map((entry) => [entry.name, entry.hits]));
    assert.deepEqual(
      ["early", "late", "no", "no, late"].map((name) => hits.get(name)),
      [4, 4, 1, 1].map((count) => ({ hour: count, day: count })),
    );
    const { supervisor, workers } = await node.stats();
    for (const { delay } of [supervisor, ...workers])
      assert.ok(delay && delay.p50 <= delay.p99 && delay.p99 <= delay.max);
  });
});
