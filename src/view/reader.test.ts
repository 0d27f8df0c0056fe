import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { Server } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { WebSocket, WebSocketServer } from "ws";
import { PREFACE } from "./http2.ts";
import { SessionReader } from "./reader.ts";
import {
  byteByByte,
  client,
  frame,
  type Read,
  readAll,
  record,
  type Said,
  SESSION,
  server,
} from "./test-conversation.ts";
import { Collector, type Transaction } from "./transaction.ts";

/** What a test compares of each transaction. */
function shortly({ transactions }: Read): unknown[] {
  return transactions.map(({ method, url, version, status, requestBytes, responseBytes, state, problem }) => [
    ...[method, url, version, status, requestBytes, responseBytes],
    problem ?? state,
  ]);
}

/** Reads it as it came and byte by byte, which must give the same. */
async function read(said: readonly Said[]): Promise<Read> {
  const whole = await readAll(said);
  const cut = await readAll(byteByByte(said));
  assert.deepEqual(shortly(cut), shortly(whole));
  assert.deepEqual(
    cut.details,
    whole.details.map((detail) => ({ ...detail, frames: cut.details[0]?.frames ?? [] })),
  );
  return whole;
}

async function ask(port: number, options: http.RequestOptions, body?: string): Promise<void> {
  const request = http.request({ port, host: "127.0.0.1", setHost: false, headers: { host: "a.example" }, ...options });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  await text(response);
}

test("HTTP/1.1: requests on one connection, with and without bodies, are read with their responses", async () => {
  const origin = http.createServer((request, response) => {
    request.resume().on("end", () => {
      response.setHeader("content-type", "text/plain; charset=utf-8");
      if (request.url === "/chunked") {
        response.write("one");
        response.end("two");
      } else response.end(request.method === "HEAD" ? undefined : "four");
    });
  });
  const said = await record(origin as unknown as Server, async (port) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    await ask(port, { agent, path: "/" });
    await ask(port, { agent, path: "/head", method: "HEAD" });
    const expecting = { host: "a.example", expect: "100-continue", "content-length": 5 };
    await ask(port, { agent, path: "/post", method: "POST", headers: expecting }, "hello");
    await ask(port, { agent, path: "/chunked" });
    agent.destroy();
  });
  const found = await read(said);
  assert.deepEqual(shortly(found), [
    ["GET", "https://a.example/", "HTTP/1.1", 200, 0, 4, "complete"],
    ["HEAD", "https://a.example/head", "HTTP/1.1", 200, 0, 0, "complete"],
    ["POST", "https://a.example/post", "HTTP/1.1", 200, 5, 4, "complete"],
    ["GET", "https://a.example/chunked", "HTTP/1.1", 200, 0, 6, "complete"],
  ]);
  assert.equal(found.details[3]?.bodies.server.bytes.toString(), "onetwo");
  assert.equal(found.transactions[0]?.responseType, "text/plain");
});

test("HTTP/1.1: pipelined requests, a body that ends with the connection, and an early response", async () => {
  const found = await read([
    client("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    server("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"),
    client("POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"),
    server("HTTP/1.1 413 Too Large\r\n\r\nuntil"),
    client("cd"),
    server(" the end"),
  ]);
  assert.deepEqual(shortly(found), [
    ["GET", "https://a/1", "HTTP/1.1", 204, 0, 0, "complete"],
    ["GET", "https://a/2", "HTTP/1.1", 404, 0, 2, "complete"],
    ["POST", "https://a/3", "HTTP/1.1", 413, 4, 13, "complete"],
  ]);
});

test("An exchange that is cut is told with the reason", async () => {
  const found = await read([
    client("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"),
  ]);
  assert.deepEqual(shortly(found), [
    ["GET", "https://a/1", "HTTP/1.1", 200, 0, 4, "the connection ended in the middle of the response"],
  ]);
});

test("A body that ends with the connection is whole only where the connection did not break off", async () => {
  for (const [isCut, expected] of [
    [false, "complete"],
    [true, "the connection broke off, so the response may not be whole"],
  ] as const) {
    for (const fields of ["", "Content-Length: 4\r\n"]) {
      const done: Transaction[] = [];
      const keeping = { heads: false, body: 0, total: 0 };
      const collector = new Collector(SESSION, keeping, { open: 0 }, (one) => done.push(one));
      const reader = new SessionReader(collector);
      reader.push(...client("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
      reader.push(...server(`HTTP/1.1 200 OK\r\n${fields}\r\npart`));
      reader.end("server", isCut);
      // A body of a known length is whole however the connection ends.
      assert.deepEqual(
        done.map(({ problem, state }) => problem ?? state),
        [fields === "" ? expected : "complete"],
      );
      await reader.close();
    }
  }
});

test("A tunnel that CONNECT opens is read inside, and an upgrade that is refused goes on as HTTP", async () => {
  const found = await read([
    client("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    server("HTTP/1.1 426 No\r\nContent-Length: 0\r\n\r\n"),
    client("CONNECT inner.example:443 HTTP/1.1\r\nHost: inner.example:443\r\n\r\n"),
    server("HTTP/1.1 200 Established\r\n\r\n"),
    client("GET /inner HTTP/1.1\r\nHost: inner.example\r\n\r\n"),
    server("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
  ]);
  assert.deepEqual(shortly(found), [
    ["GET", "https://a/ws", "HTTP/1.1", 426, 0, 0, "complete"],
    ["CONNECT", "inner.example:443", "HTTP/1.1", 200, 0, 0, "complete"],
    ["GET", "https://inner.example/inner", "HTTP/1.1", 200, 0, 1, "complete"],
  ]);
});

test("Upgrade: h2c goes on as HTTP/2, whose first stream is the request's", async () => {
  const settings = frame(4, 0, 0);
  const found = await read([
    client(
      "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
    ),
    server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    // 0x88: ":status: 200" of the static table.
    ["server", Buffer.concat([settings, frame(1, 4, 1, Buffer.from([0x88])), frame(0, 1, 1, Buffer.from("hi"))])],
    ["client", Buffer.concat([PREFACE, settings])],
  ]);
  assert.deepEqual(shortly(found), [["GET", "https://a/up", "HTTP/1.1", 200, 0, 2, "complete"]]);
});

test("HTTP/2: streams beside each other, large fields, trailers, and resets", async () => {
  const origin = http2.createServer({ settings: { headerTableSize: 64 } });
  origin.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    if (headers[":path"] === "/reset") return stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    stream.resume();
    stream.on("end", () => {
      stream.respond(
        { ":status": 200, "content-type": "application/json", "x-large": "y".repeat(20_000) },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "1" }));
      stream.end(`{"path":"${headers[":path"]}"}`);
    });
  });
  const said = await record(origin as unknown as Server, async (port) => {
    const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { headerTableSize: 8192 } });
    await Promise.all(
      ["/a", "/b", "/reset"].map(async (path) => {
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          ":authority": "h2.example",
          "x-custom": "z",
        });
        stream.end("body");
        await text(stream).catch(() => undefined);
      }),
    );
    session.destroy();
  });
  const found = await read(said);
  const byPath = shortly(found).toSorted((one, other) => String(one).localeCompare(String(other)));
  assert.deepEqual(byPath.slice(0, 2), [
    ["POST", "http://h2.example/a", "HTTP/2", 200, 4, 13, "complete"],
    ["POST", "http://h2.example/b", "HTTP/2", 200, 4, 13, "complete"],
  ]);
  assert.match(String(byPath[2]), /\/reset,HTTP\/2,.*reset by the server: ENHANCE_YOUR_CALM/);
});

test("HTTP/2: a server that speaks first, padding, a push, and a field block in pieces", async () => {
  const get = Buffer.from("828684418cf1e3c2e5f23a6ba0ab90f4ff", "hex");
  const ok = Buffer.from([0x88]);
  const padded = Buffer.concat([Buffer.from([3]), Buffer.from("data"), Buffer.alloc(3)]);
  const promise = Buffer.concat([Buffer.from([0, 0, 0, 2]), get]);
  const found = await read([
    ["server", frame(4, 0, 0)],
    [
      "client",
      Buffer.concat([PREFACE, frame(4, 0, 0), frame(1, 1, 1, get.subarray(0, 5)), frame(9, 4, 1, get.subarray(5))]),
    ],
    ["server", Buffer.concat([frame(1, 4, 1, ok), frame(5, 4, 1, promise), frame(0, 8, 1, padded), frame(0, 1, 1)])],
    ["server", Buffer.concat([frame(1, 4, 2, ok), frame(0, 1, 2, Buffer.from("pushed"))])],
  ]);
  assert.deepEqual(shortly(found), [
    ["GET", "http://www.example.com/", "HTTP/2", 200, 0, 4, "complete"],
    ["GET", "http://www.example.com/", "HTTP/2", 200, 0, 6, "complete"],
  ]);
});

for (const perMessageDeflate of [false, { threshold: 0 }]) {
  test(`WebSocket: messages are read ${perMessageDeflate ? "compressed" : "as they are"}`, async () => {
    const origin = http.createServer();
    const sockets = new WebSocketServer({ server: origin, perMessageDeflate });
    sockets.on("connection", (socket) => socket.on("message", (message) => socket.send(`echo ${message}`)));
    const said = await record(origin as unknown as Server, async (port) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`, { perMessageDeflate: Boolean(perMessageDeflate) });
      await once(socket, "open");
      for (const text of ["one", "two".repeat(500)]) {
        socket.send(text);
        await once(socket, "message");
      }
      socket.close(1000);
      await once(socket, "close");
    });
    const { transactions, details } = await readAll(said);
    const [seen] = transactions;
    assert.deepEqual([seen?.status, seen?.messages, seen?.state], [101, { client: 2, server: 2 }, "complete"]);
    assert.deepEqual(
      details[0]?.frames.map(({ from, bytes }) => `${from} ${bytes.toString().slice(0, 8)}`).sort(),
      ["client one", "client twotwotw", "server echo one", "server echo two"].sort(),
    );
  });
}

test("WebSocket in a stream of HTTP/2 (RFC 8441)", async () => {
  const origin = http2.createServer({ settings: { enableConnectProtocol: true } });
  const hello = Buffer.from([0x81, 2, ...Buffer.from("hi")]);
  const masked = Buffer.from([0x81, 0x82, 0, 0, 0, 0, ...Buffer.from("yo")]);
  origin.on("stream", (stream: http2.ServerHttp2Stream) => {
    stream.respond({ ":status": 200 });
    stream.write(hello);
    stream.on("data", () => stream.end());
  });
  const said = await record(origin as unknown as Server, async (port) => {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    await once(session, "remoteSettings");
    const stream = session.request({
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":path": "/chat",
      ":authority": "a",
    });
    await once(stream, "response");
    stream.end(masked);
    await text(stream);
    session.destroy();
  });
  const { transactions } = await readAll(said);
  assert.deepEqual(
    transactions.map(({ messages, state }) => [messages, state]),
    [[{ client: 1, server: 1 }, "complete"]],
  );
});

test("What is not HTTP is told so, and not read", async () => {
  for (const said of [
    [server("220 mail ready\r\n"), client("EHLO a\r\n")],
    [client("\x16\x03\x01 TLS")],
    [client("hello\r\n")],
  ])
    assert.deepEqual((await readAll(said)).reading, "other");
});

test("A body is kept as it was sent, up to its limit", async () => {
  const body = gzipSync("x".repeat(5000));
  const said = [
    client("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    server(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`),
    ["server", body] as const,
  ];
  const { details, transactions } = await readAll(said, 10);
  assert.deepEqual(details[0]?.bodies.server, { bytes: body.subarray(0, 10), isCut: true });
  assert.deepEqual([transactions[0]?.responseBytes, transactions[0]?.responseEncoding], [body.length, "gzip"]);
});
