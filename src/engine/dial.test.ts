import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, connect as nodeConnect, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort } from "../../test/processes.ts";
import { NetworkError } from "../errors.ts";
import { dial, openSocket } from "./dial.ts";
import { openEnds } from "./end.ts";
import { libc, must } from "./native.ts";
import { writeSocketAddress } from "./socket-address.ts";
import { loop, readToEnd } from "./test-ends.ts";

/** A real listener at this address, and its port. */
async function listening(t: TestContext, host: string, port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await once(server.listen(port, host), "listening");
  t.after(() => server.close());
  return { server, port: (server.address() as AddressInfo).port };
}

/** A listener whose backlog is full: the kernel drops further SYNs, as a dead host would. */
async function deafListener(t: TestContext, host: string): Promise<number> {
  const port = await freePort();
  const fd = openSocket(host);
  const address = writeSocketAddress({ address: host, port });
  must(libc.bind(fd, address, address.length), "bind");
  must(libc.listen(fd, 0), "listen");
  const filling = Array.from({ length: 4 }, () => nodeConnect({ port, host }).on("error", () => {}));
  t.after(() => {
    for (const socket of filling) socket.destroy();
    libc.close(fd);
  });
  await once(filling[0]!, "connect");
  return port;
}

test("Nothing is lost of what a server says at once and then ends", async (t) => {
  const { server, port } = await listening(t, "127.0.0.1");
  server.once("connection", (peer) => peer.end("220 ready"));
  const end = await dial(loop, ["127.0.0.1"], port, 5_000);
  t.after(() => end.close());
  assert.equal(String((await readToEnd(end)).bytes), "220 ready");
});

test("A closed port is refused with the system's code, and the addresses that were tried", async () => {
  const port = await freePort();
  await assert.rejects(dial(loop, ["127.0.0.1", "127.0.0.2"], port, 5_000), (error: Error) => {
    assert.ok(error instanceof NetworkError);
    assert.equal(error.code, "ECONNREFUSED");
    assert.equal(error.message, `Cannot connect to 127.0.0.1, 127.0.0.2 port ${port}: ECONNREFUSED`);
    return true;
  });
});

test("An address that refuses is passed over for the next", async (t) => {
  const { port } = await listening(t, "127.0.0.3");
  const end = await dial(loop, ["127.0.0.1", "127.0.0.2", "127.0.0.3"], port, 5_000);
  assert.equal(end.remote()?.address, "127.0.0.3");
  end.close();
});

test("An address that does not answer does not keep the next one waiting, and its attempt is given up", async (t) => {
  const port = await deafListener(t, "127.0.0.4");
  await listening(t, "127.0.0.5", port);
  const before = openEnds();
  const end = await dial(loop, ["127.0.0.4", "127.0.0.5"], port, 60_000);
  assert.equal(end.remote()?.address, "127.0.0.5");
  end.close();
  assert.equal(openEnds(), before);
});

test("Nobody answers in time: ETIMEDOUT, and nothing goes on connecting", async (t) => {
  const port = await deafListener(t, "127.0.0.4");
  const before = openEnds();
  await assert.rejects(dial(loop, ["127.0.0.4"], port, 50), {
    code: "ETIMEDOUT",
    message: `Cannot connect to 127.0.0.4 port ${port} in 50 ms`,
  });
  assert.equal(openEnds(), before);
});

test("A host without an address is an error of the network's", async () => {
  await assert.rejects(dial(loop, [], 443, 1_000), { name: "NetworkError", code: "ENOTFOUND" });
});
