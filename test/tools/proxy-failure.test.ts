import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { writeProxyHeader } from "../../src/wire/proxy-protocol.ts";
import { connectThrough, GET, opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import type { TestNode } from "../node.ts";
import { opensslServer } from "../peers.ts";
import { DOMAIN } from "../pki.ts";
import { until } from "../processes.ts";
import { haproxy, type ToolPorts } from "./proxies.ts";
import { type Backend, startBackend, startWorld } from "./world.ts";

const HEARTBEAT = { period: "100ms", timeout: "2s", retries: 2, recovery: "300ms" };

describe("A tool of kind proxy", needs("openssl", "nginx-light", "curl", "haproxy"), () => {
  let backend: Backend;

  before(async () => {
    backend = await startBackend();
  });
  after(async () => {
    await backend?.[Symbol.asyncDispose]();
  });

  /** Resolves once the node's only tool is in this state. */
  const stateOf = (node: TestNode, state: "up" | "down") =>
    until(`the tool to be ${state}`, async () => (await node.stats()).tools[0]?.state === state);

  for (const onFailure of ["bypass", "drop"] as const) {
    test(`When the tool dies, its sessions end and new ones follow onFailure: ${onFailure}; when it is back, sessions pass it again`, async () => {
      await using world = await startWorld(backend, [{ start: haproxy, more: { onFailure, heartbeat: HEARTBEAT } }]);
      const { node, tools, ports } = world;
      const live = await connectThrough(node.proxy, `127.0.0.1:${backend.origin.port}`);
      live.socket.write("GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await until("a session in the tool", async () => (await node.stats()).tools[0]?.sessions === 1);
      const ended = new Promise<string>((resolve) => {
        live.socket.once("error", ({ code = "" }: NodeJS.ErrnoException) => resolve(code));
        live.socket.resume().once("end", () => resolve("end"));
      });
      await tools[0]!.stop("SIGKILL");
      assert.match(await ended, /ECONNRESET|EPIPE|end/);
      await stateOf(node, "down");

      const meanwhile = await world.get(`dead-${onFailure}.${DOMAIN}`, "/seen");
      const session = await node.session(`dead-${onFailure}.${DOMAIN}`);
      if (onFailure === "bypass") {
        assert.equal(meanwhile.code, 0);
        assert.deepEqual(session.tools, [{ name: "tool0", state: "bypassed" }]);
        assert.equal(session.state, "EST:EST:INIT:INIT");
      } else {
        assert.notEqual(meanwhile.code, 0);
        assert.deepEqual([session.serverLeg.sent, session.serverLeg.received], [0, 0]);
        assert.match(
          session.closeReason ?? "",
          /^Dropped: The tool tool0 has failed: Cannot reach the tool tool0 at .*ECONNREFUSED/,
        );
      }

      const again = await haproxy(ports[0]!);
      try {
        await stateOf(node, "up");
        assert.equal((await world.get(`back-${onFailure}.${DOMAIN}`, "/seen")).code, 0);
        const { tools: passed } = await node.session(`back-${onFailure}.${DOMAIN}`);
        assert.deepEqual(passed, [{ name: "tool0", state: "connected" }]);
        assert.match(node.process.output(), /A tool has failed; the sessions that passed it were ended/);
        assert.match(node.process.output(), /A tool works again/);
        await node.stop();
      } finally {
        await again.stop();
      }
    });
  }

  test("A tool that hangs is seen by its heartbeats, what waits for it is let go, and the record blames it", async () => {
    const heartbeat = { ...HEARTBEAT, timeout: "500ms" };
    const tool = { start: haproxy, more: { onFailure: "drop", heartbeat } };
    // Without heartbeats through the tool, nothing would be noticed for a minute.
    await using world = await startWorld(backend, [tool], { timeouts: { connect: "60s", drain: "2s" } });
    const { node, tools } = world;
    await until("a heartbeat through HAProxy", () => / ID heartbeat-/.test(tools[0]!.output()));
    assert.equal((await node.stats()).tools[0]?.state, "up");
    process.kill(tools[0]!.pid, "SIGSTOP");
    const { code } = await world.get(`hung.${DOMAIN}`, "/seen");
    assert.notEqual(code, 0);
    await stateOf(node, "down");
    const session = await node.session(`hung.${DOMAIN}`);
    assert.deepEqual([session.outcome, session.cause, session.blame], ["toolFailed", "toolDown", "tool"]);
    assert.match(session.closeReason ?? "", /The tool tool0 has failed: no heartbeat came through in 500 ms/);
    process.kill(tools[0]!.pid, "SIGCONT");
    await stateOf(node, "up");
    assert.equal((await world.get(`again.${DOMAIN}`, "/seen")).code, 0);
    // Heartbeats that came back late were no strangers.
    assert.equal((await node.stats()).tools[0]?.strangers, 0);
    await node.stop();
  });

  test("A tool that takes sessions and never connects back has failed", async () => {
    const start = (ports: ToolPorts) => haproxy({ ...ports, back: 9 });
    const more = { onFailure: "drop", heartbeat: { ...HEARTBEAT, period: "1h" } };
    await using world = await startWorld(backend, [{ start, more }], { timeouts: { connect: "500ms", drain: "2s" } });
    const { node } = world;
    for (const count of [1, 2]) {
      const { code } = await world.get(`lost${count}.${DOMAIN}`, "/seen");
      assert.notEqual(code, 0);
      const session = await node.session(`lost${count}.${DOMAIN}`);
      assert.equal(session.serverLeg.sent, 0);
    }
    await stateOf(node, "down");
    await node.stop();
  });

  test("Bypassed TLS and plaintext pass a tool whose flows include them; a rule can leave a tool out", async () => {
    const rules = [
      { name: "private", match: { host: [`private.${DOMAIN}`] }, action: "bypass" },
      { name: "away", match: { host: [`away.${DOMAIN}`] }, action: "decrypt", tools: [] },
    ];
    const plain = await opensslServer(backend.pki.server.ecdsa);
    await using world = await startWorld(
      backend,
      [
        { start: haproxy, more: { flows: ["decrypted", "bypassed"] } },
        { start: haproxy, more: { flows: ["notTls"] } },
      ],
      { policy: { rules } },
    );
    const { node } = world;
    const way = { proxy: node.proxy, target: plain.port };
    const namesOf = async (sni: string) => (await node.session(sni)).tools.map(({ name }) => name);
    const bypassed = await opensslClient({
      way,
      name: `private.${DOMAIN}`,
      roots: backend.pki.root.certificate,
      input: GET,
    });
    assert.equal(bypassed.code, 0, bypassed.stderr);
    assert.deepEqual(await namesOf(`private.${DOMAIN}`), ["tool0"]);
    assert.equal((await world.get(`away.${DOMAIN}`, "/seen")).code, 0);
    assert.deepEqual(await namesOf(`away.${DOMAIN}`), []);

    const since = Date.now();
    const { socket } = await connectThrough(node.proxy, `127.0.0.1:${backend.origin.port}`);
    const port = socket.localPort!;
    socket.resume().end("GET / HTTP/1.0\r\n\r\n");
    const [answer] = await once(socket, "data");
    assert.match(String(answer), /400/);
    const { tools } = await node.sessionFrom(port, since);
    assert.deepEqual(tools, [{ name: "tool1", state: "connected" }]);
    await plain.process.stop();
    await node.stop();
  });

  test("Connections that are not the tool's, or belong to no session, are reset, counted and logged", async () => {
    await using world = await startWorld(backend, [{ start: haproxy, more: { from: ["127.0.0.1"] } }]);
    const { node, ports } = world;
    const back = ports[0]!.back;
    // A live session, which a stranger knows in every detail.
    const { socket: live } = await connectThrough(node.proxy, `127.0.0.1:${backend.origin.port}`);
    live.write("GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const [session] = await until("a session in the tool", async () => {
      const found = (await node.sessions({ live: "true" })).filter(({ state }) => state === "EST:EST:EST:EST");
      return found.length === 1 && found;
    });
    const { id, client, server } = session!;
    const known = writeProxyHeader({
      source: { address: client.address, port: client.port },
      destination: { address: "127.0.0.1", port: server!.port },
      uniqueId: id,
    });
    const nobody = writeProxyHeader({
      source: { address: "192.0.2.1", port: 1 },
      destination: { address: "192.0.2.2", port: 2 },
    });
    const attempts: readonly (readonly [from: string, bytes: Buffer])[] = [
      ["127.0.0.2", known],
      ["127.0.0.1", known],
      ["127.0.0.1", nobody],
      ["127.0.0.1", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
      ["127.0.0.1", known.subarray(0, 20)],
    ];
    for (const [from, bytes] of attempts) {
      const stranger = connect({ port: back, host: "127.0.0.1", localAddress: from });
      stranger.end(Buffer.concat([bytes, Buffer.from("evil")]));
      assert.equal(await heard(stranger), "", `from ${from}`);
    }
    await until("all of them to be counted", async () => (await node.stats()).tools[0]?.strangers === attempts.length);
    assert.ok(!live.destroyed);
    // Each worker logs its first stranger, without its bytes, and only counts the others.
    const [line] = await node.process.shows(/^.*A connection to a tool's return address was reset.*$/m);
    const { tool, from } = JSON.parse(line);
    assert.equal(tool, "tool0");
    assert.ok(attempts.some(([address]) => address === from));
    live.destroy();
    await node.stop();
    assert.doesNotMatch(node.process.output(), /evil|GET/);
  });
});

/** Everything that this connection receives until it is closed. */
function heard(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  return new Promise((resolve) => {
    socket.on("error", () => {});
    socket.once("close", () => resolve(String(Buffer.concat(parts))));
  });
}
