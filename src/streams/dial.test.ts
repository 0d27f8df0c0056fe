import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort } from "../../test/processes.ts";
import { NetworkError } from "../errors.ts";
import { dial, resolveHost } from "./dial.ts";

/** A real listener at this address, and its port. */
async function listening(t: TestContext, host: string, port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await once(server.listen(port, host), "listening");
  t.after(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

/** A listener whose process stands still and whose backlog is full: the kernel drops further SYNs, as a dead host would. */
async function deafListener(t: TestContext, host: string): Promise<number> {
  const program = `require("net").createServer().listen({ port: 0, host: "${host}", backlog: 1 }, function () { console.log(this.address().port) })`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const [text] = await once(child.stdout, "data");
  const port = Number(text);
  child.kill("SIGSTOP");
  const filling = Array.from({ length: 8 }, () => connect({ port, host }).on("error", () => {}));
  t.after(() => {
    for (const socket of filling) socket.destroy();
    child.kill("SIGKILL");
  });
  await once(filling[0]!, "connect");
  return port;
}

test("A connection is half-open capable and paused, so that nothing is lost before somebody reads", async (t) => {
  const { server, port } = await listening(t, "127.0.0.1");
  server.once("connection", (peer) => peer.end("220 ready"));
  const socket = await dial(["127.0.0.1"], port, 5_000);
  t.after(() => socket.destroy());
  assert.ok(socket.isPaused() && socket.allowHalfOpen);
  const [bytes] = await once(socket.resume(), "data");
  assert.equal(String(bytes), "220 ready");
});

test("A closed port is refused with the system's code, and the addresses that were tried", async () => {
  const port = await freePort();
  await assert.rejects(dial(["127.0.0.1", "127.0.0.2"], port, 5_000), (error: Error) => {
    assert.ok(error instanceof NetworkError);
    assert.equal(error.code, "ECONNREFUSED");
    assert.equal(error.message, `Cannot connect to 127.0.0.1, 127.0.0.2 port ${port}: ECONNREFUSED`);
    return true;
  });
});

test("An address that refuses is passed over for the next", async (t) => {
  const { port } = await listening(t, "127.0.0.3");
  const socket = await dial(["127.0.0.1", "127.0.0.2", "127.0.0.3"], port, 5_000);
  assert.equal(socket.remoteAddress, "127.0.0.3");
  socket.destroy();
});

test("An address that does not answer does not keep the next one waiting, and its attempt is given up", async (t) => {
  const port = await deafListener(t, "127.0.0.4");
  await listening(t, "127.0.0.5", port);
  const socket = await dial(["127.0.0.4", "127.0.0.5"], port, 60_000);
  assert.equal(socket.remoteAddress, "127.0.0.5");
  socket.destroy();
});

test("Nobody answers in time: ETIMEDOUT", async (t) => {
  const port = await deafListener(t, "127.0.0.4");
  await assert.rejects(dial(["127.0.0.4"], port, 50), { code: "ETIMEDOUT" });
});

test("A host without an address is an error of the network's", async () => {
  await assert.rejects(dial([], 443, 1_000), { name: "NetworkError", code: "ENOTFOUND" });
});

test("An address stands for itself, and a name that is none is a NetworkError", async () => {
  assert.deepEqual(await resolveHost("2001:db8::1", 1_000), ["2001:db8::1"]);
  await assert.rejects(resolveHost("no-such-host.invalid", 10_000), NetworkError);
});
