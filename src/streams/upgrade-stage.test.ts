import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import type { End } from "../engine/end.ts";
import { RESET } from "../engine/layer.ts";
import { endAndSocket, readBytes, readToEnd } from "../engine/test-ends.ts";
import { createUpgradeStage } from "./upgrade-stage.ts";

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
async function peek(t: TestContext, act: (client: Socket, server: Socket) => void) {
  const [[near, client], [far, server]] = await Promise.all([endAndSocket(t), endAndSocket(t)]);
  const peeked = stage.peek(near, far);
  act(client, server);
  return { asksProxy: await peeked, near, far };
}

/** What waits on an end, which nobody has taken. */
const waiting = async (end: End, length: number) => String((await readBytes(end, length)).bytes);

test("A request to a proxy is recognised, in however many pieces it comes", async (t) => {
  const [[near, peer], [server]] = await Promise.all([endAndSocket(t), endAndSocket(t)]);
  const peeked = stage.peek(near, server);
  for (const piece of ["CON", "NECT", " a.test:443"]) {
    peer.write(piece);
    await new Promise(setImmediate);
  }
  assert.equal(await peeked, true);
  assert.equal(await waiting(near, 8), "CONNECT ");
});

test("A request to an origin server, and a server that speaks first, are no requests to a proxy", async (t) => {
  const origin = await peek(t, (client) => void client.write("GET / HTTP/1.1\r\n"));
  assert.deepEqual([origin.asksProxy, await waiting(origin.near, 16)], [false, "GET / HTTP/1.1\r\n"]);
  const greeting = await peek(t, (_client, server) => void server.write("220"));
  assert.deepEqual([greeting.asksProxy, await waiting(greeting.far, 3)], [false, "220"]);
});

test("A stream that breaks before any bytes came gives its error to the relay", async (t) => {
  const { asksProxy, near } = await peek(t, (client) => void client.resetAndDestroy());
  assert.equal(asksProxy, false);
  assert.equal((await readToEnd(near)).last, RESET);
});

test("A client that says nothing in time ends the session", async (t) => {
  const [[client], [server]] = await Promise.all([endAndSocket(t), endAndSocket(t)]);
  const impatient = createUpgradeStage({
    startTls: { enabled: true, ports: [] },
    timeouts: { ...timeouts, idle: 1 },
  });
  await assert.rejects(impatient.peek(client, server), { code: "ETIMEDOUT" });
});
