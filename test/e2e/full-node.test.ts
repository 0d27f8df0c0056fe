import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { nextChunk, readAll } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { makePki } from "../pki.ts";
import { until } from "../processes.ts";

const LIMIT = 6;

describe("A full node", needs("openssl"), () => {
  let node: TestNode;
  let origin: http.Server;
  const waiting: http.ServerResponse[] = [];

  before(async () => {
    const pki = await makePki();
    origin = http.createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/plain" });
      response.write("the beginning, ");
      waiting.push(response);
    });
    await once(origin.listen(0, "127.0.0.1"), "listening");
    const config = { workers: 1, limits: { sessions: LIMIT } };
    node = await startNode({ trust: [pki.root.certificate], config });
  });
  after(async () => {
    await node?.process.stop();
    origin?.closeAllConnections();
    origin?.close();
  });

  /** Sends a plain request through the proxy, and reads the beginning of its answer. */
  async function download(): Promise<net.Socket> {
    const { port } = origin.address() as net.AddressInfo;
    const socket = net.connect({ port: node.proxy, host: "127.0.0.1", allowHalfOpen: true });
    socket.write(`GET http://127.0.0.1:${port}/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
    assert.match(String(await nextChunk(socket)), /^HTTP\/1\.1 200 /);
    return socket;
  }

  test("Silent connections make room for new ones, and connections with traffic stay", async () => {
    const served = await download();
    const silent = Array.from({ length: LIMIT - 1 }, () => net.connect(node.proxy, "127.0.0.1"));
    for (const socket of silent) socket.on("error", () => undefined).resume();
    await until("a full node", async () => (await node.stats()).sessions.live === LIMIT);
    const more = [await download(), await download()];
    await until("two silent connections gone", () => silent.filter(({ destroyed }) => destroyed).length >= 2);
    for (const response of waiting.splice(0)) response.end("the end");
    for (const socket of [served, ...more]) {
      assert.match(String(await readAll(socket)), /the end/);
      socket.end();
    }
    assert.equal(silent.filter(({ destroyed }) => destroyed).length, 2);
    for (const socket of silent) socket.destroy();
    await until("no live session", async () => (await node.stats()).sessions.live === 0);
  });

  test("An unfinished request gets 408 after timeouts.hello, and no reset before the client has read it", async () => {
    node.rewrite({ timeouts: { hello: "1s", drain: "5s" } });
    await node.api("reload", "POST");
    const socket = net.connect({ port: node.proxy, host: "127.0.0.1", allowHalfOpen: true });
    socket.write("CONNECT 127.0.0.1:1 HT");
    assert.match(String(await readAll(socket)), /^HTTP\/1\.1 408 /);
    socket.end();
    await new Promise((resolve) => socket.once("close", resolve));
  });

  test("A stop lets a plain HTTP download finish", async () => {
    const served = await download();
    const stopped = node.process.stop();
    await until("no listener", async () => {
      const socket = net.connect(node.proxy, "127.0.0.1");
      const refused = await once(socket, "connect").then(
        () => false,
        () => true,
      );
      socket.destroy();
      return refused;
    });
    waiting.splice(0)[0]?.end("the end");
    assert.match(String(await readAll(served)), /the end/);
    served.end();
    assert.equal((await stopped).code, 0);
  });
});
