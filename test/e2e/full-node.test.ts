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
    // The connection ends with its answer, and does not wait for another request.
    socket.write(`GET http://127.0.0.1:${port}/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
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

/** Many clients of one machine: each has an address of its own. */
describe("One client among others", needs("openssl"), () => {
  const SESSIONS = 12;
  let node: TestNode;
  let echo: net.Server;

  before(async () => {
    const pki = await makePki();
    echo = net.createServer((socket) => socket.on("error", () => {}).pipe(socket));
    await once(echo.listen(0, "127.0.0.1"), "listening");
    node = await startNode({ trust: [pki.root.certificate], config: { workers: 1, limits: { sessions: SESSIONS } } });
  });
  after(async () => {
    await node?.stop();
    echo?.close();
  });

  /** CONNECT, and a byte that is no TLS: the echo proves that the session is carried. */
  async function session(from: string): Promise<net.Socket> {
    const { port } = echo.address() as net.AddressInfo;
    const socket = net.connect({ port: node.proxy, host: "127.0.0.1", localAddress: from });
    socket.on("error", () => {}).write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: x\r\n\r\n`);
    if (!/^HTTP\/1\.1 200 /.test(String(await nextChunk(socket).catch(() => "")))) return socket.destroy();
    socket.write("x");
    await nextChunk(socket).catch(() => undefined);
    return socket;
  }

  const alive = (sockets: readonly net.Socket[]) =>
    sockets.filter(({ destroyed, readableEnded }) => !destroyed && !readableEnded);
  const quiet = () => until("no live session", async () => (await node.stats()).sessions.live === 0);

  test("does not lock out the others with sessions that carry no TLS, and its most silent ones give way", async () => {
    const greedy: net.Socket[] = [];
    for (let count = 0; count < SESSIONS + 4; count += 1) greedy.push(await session("127.0.0.2"));
    for (const socket of greedy) socket.resume();
    await until("a full node", () => alive(greedy).length === SESSIONS);
    const others = await Promise.all(["127.0.0.3", "127.0.0.4", "127.0.0.5"].map(session));
    assert.equal(alive(others).length, 3);
    await until("places given up", () => alive(greedy).length === SESSIONS - 3);

    const { limits } = await node.stats();
    assert.deepEqual([limits.sessions, limits.bound], [SESSIONS, "limits.sessions"]);
    await until("the counts", async () => {
      const [met] = (await node.stats()).limits.met;
      return met?.limit === "limits.sessions" && met.refused === 4 && met.evicted === 3;
    });
    const ended = await until("the records", async () => {
      const found = (await node.sessions({ live: "false" })).filter(({ closeReason }) =>
        /most sessions/.test(closeReason ?? ""),
      );
      return found.length === 3 && found;
    });
    assert.ok(ended.every(({ client }) => client.address === "127.0.0.2"));
    const metrics = await node.api<string>("../../metrics");
    assert.match(metrics, /^clearline_sessions_refused_total\{limit="limits\.sessions"\} 4$/m);
    assert.match(metrics, /^clearline_sessions_evicted_total\{limit="limits\.sessions"\} 3$/m);
    assert.match(metrics, /^clearline_sessions_capacity\{bound="limits\.sessions"\} 12$/m);
    const [line] = await node.process.shows(/^.*The node is full: .*$/m);
    assert.equal(JSON.parse(line).limits[0].limit, "limits.sessions");
    for (const socket of [...greedy, ...others]) socket.destroy();
    await quiet();
  });

  test("has no more than limits.perClient, half open or not, while others have theirs", async () => {
    node.rewrite({ limits: { sessions: SESSIONS, perClient: { sessions: 3, halfOpen: 2 } } });
    await node.api("reload", "POST");
    const silent = Array.from({ length: 4 }, () =>
      net.connect({ port: node.proxy, host: "127.0.0.1", localAddress: "127.0.0.2" }),
    );
    for (const socket of silent) socket.on("error", () => {}).resume();
    await until("two half-open sessions", () => alive(silent).length === 2);
    for (const socket of silent) socket.destroy();
    await quiet();
    const many: net.Socket[] = [];
    for (let count = 0; count < 5; count += 1) many.push(await session("127.0.0.2"));
    assert.equal(alive(many).length, 3);
    const other = await session("127.0.0.3");
    assert.equal(alive([other]).length, 1);
    for (const socket of [...many, other]) socket.destroy();
    await quiet();
  });

  test("The start says how many sessions the node can carry, and warns when open files allow fewer", async () => {
    const pki = await makePki();
    await using small = await startNode({ trust: [pki.root.certificate], config: { workers: 1 }, openFiles: 256 });
    assert.match(
      small.process.output(),
      /limits\.sessions is 20000, but the open files of a process \(256; .*\) are enough for 96 only/,
    );
    assert.match(small.process.output(), /^ {2}sessions {2}up to 96 {2}\(open files\)$/m);
    const { limits } = await small.stats();
    assert.deepEqual([limits.sessions, limits.bound], [96, "open files"]);
    await small.stop();
  });
});
