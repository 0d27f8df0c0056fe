import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort } from "../../test/processes.ts";
import { ConfigError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { checkFree, listenConfigured } from "./listen.ts";

const PATH = "listeners[0].address";

async function open(t: TestContext, port = 0, shared = false, host = "127.0.0.1") {
  const accepted: { client: Socket; from: Endpoint }[] = [];
  const arrival = Promise.withResolvers<void>();
  const server = await listenConfigured(PATH, { host, port, shared }, (client, from) => {
    accepted.push({ client, from });
    t.after(() => client.destroy());
    arrival.resolve();
  });
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, accepted, arrived: arrival.promise };
}

test("A client is handed over paused and half-open capable, with its own address", async (t) => {
  const { port, accepted, arrived } = await open(t);
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  await Promise.all([once(socket, "connect"), arrived]);
  const [{ client, from }] = accepted as [(typeof accepted)[number]];
  assert.deepEqual(from, { address: "127.0.0.1", port: socket.localPort });
  assert.ok(client.isPaused() && client.allowHalfOpen);
  // A reset before anybody listens must not bring the process down.
  client.resume();
  socket.resetAndDestroy();
  await new Promise((resolve) => client.once("close", resolve));
});

test("An IPv4 client of a dual-stack listener has its own address, not the mapped one", async (t) => {
  const { port, accepted, arrived } = await open(t, 0, false, "::");
  const socket = connect(port, "127.0.0.1");
  await Promise.all([once(socket, "connect"), arrived]);
  assert.equal(accepted[0]?.from.address, "127.0.0.1");
  socket.destroy();
});

test("A port in use is a ConfigError that names the address and the path", async (t) => {
  const { port } = await open(t);
  await assert.rejects(checkFree({ host: "127.0.0.1", port, path: PATH }), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.path, PATH);
    assert.equal(error.message, `Cannot listen at 127.0.0.1:${port}: another program listens there (${PATH})`);
    return true;
  });
});

test("Workers share a port, and a check whether it is free finds it taken", async (t) => {
  const { port } = await open(t, 0, true);
  await open(t, port, true);
  await assert.rejects(checkFree({ host: "127.0.0.1", port, path: PATH }), ConfigError);
});

test("A port is free again at once after it was checked", async (t) => {
  const port = await freePort();
  await checkFree({ host: "127.0.0.7", port, path: PATH });
  await open(t, port, false, "127.0.0.7");
});

test("The error for an address that this machine does not have names it", async () => {
  await assert.rejects(checkFree({ host: "192.0.2.1", port: 4433, path: PATH }), {
    message: `Cannot listen at 192.0.2.1:4433: this machine has no such address (${PATH})`,
  });
});
