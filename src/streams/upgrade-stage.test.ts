import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { tcpPair } from "../legs/test-pairs.ts";
import { createUpgradeStage, type Peek } from "./upgrade-stage.ts";

const timeouts = { hello: 60_000, handshake: 60_000, idle: 60_000 };
const stage = createUpgradeStage({ startTls: { enabled: true, ports: [25] }, timeouts });

test("A port for STARTTLS is watched, whatever the client says first", () => {
  assert.equal(stage.watch(25, Buffer.alloc(0))?.likely, true);
});

test("Another port is watched when the client asks a proxy for something", () => {
  assert.ok(stage.watch(8080, Buffer.from("CONNECT a.test:443 HTTP/1.1\r\n")));
  assert.equal(stage.watch(8080, Buffer.from("EHLO client.example\r\n")), undefined);
});

test("Nothing is watched when STARTTLS is off", () => {
  const off = createUpgradeStage({ startTls: { enabled: false, ports: [25] }, timeouts });
  assert.deepEqual([off.watch(25, Buffer.alloc(0)), off.watchInside()], [undefined, undefined]);
});

/** Peeks at two connections, at whose far ends the peers act. */
async function peek(t: TestContext, act: (client: Socket, server: Socket) => void): Promise<Peek> {
  const [[client, nearClient], [server, nearServer]] = await Promise.all([tcpPair(t), tcpPair(t)]);
  const peeked = stage.peek(nearClient, nearServer);
  act(client, server);
  return peeked;
}

test("A request to a proxy is recognised, in however many pieces it comes", async (t) => {
  const [[peer, near], [, server]] = await Promise.all([tcpPair(t), tcpPair(t)]);
  const peeked = stage.peek(near, server);
  for (const piece of ["CON", "NECT", " a.test:443"]) {
    peer.write(piece);
    await new Promise(setImmediate);
  }
  const { asksProxy, client } = await peeked;
  assert.equal(asksProxy, true);
  assert.match(String(client), /^CONNECT /);
});

test("A request to an origin server, and a server that speaks first, are no requests to a proxy", async (t) => {
  const origin = await peek(t, (client) => void client.write("GET / HTTP/1.1\r\n"));
  assert.deepEqual([origin.asksProxy, String(origin.client)], [false, "GET / HTTP/1.1\r\n"]);
  const greeting = await peek(t, (_client, server) => void server.write("220"));
  assert.deepEqual([greeting.asksProxy, String(greeting.server)], [false, "220"]);
});

test("A stream that breaks before any bytes came gives its error to the relay", async (t) => {
  const { asksProxy, failure } = await peek(t, (client) => void client.resetAndDestroy());
  assert.equal(asksProxy, false);
  assert.equal(failure?.code, "ECONNRESET");
});

test("A client that says nothing in time ends the session", async (t) => {
  const [[, client], [, server]] = await Promise.all([tcpPair(t), tcpPair(t)]);
  const impatient = createUpgradeStage({
    startTls: { enabled: true, ports: [] },
    timeouts: { ...timeouts, idle: 1 },
  });
  await assert.rejects(impatient.peek(client, server), { code: "ETIMEDOUT" });
});
