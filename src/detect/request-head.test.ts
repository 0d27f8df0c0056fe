import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createRequestHeadReader, type RequestHead, type RequestHeadSighting } from "./request-head.ts";

function answer(text: string, piece = text.length || 1): RequestHeadSighting {
  const reader = createRequestHeadReader();
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; at += piece) {
    const sighting = reader.push(bytes.subarray(at, at + piece));
    if (sighting.kind !== "more") return sighting;
  }
  return { kind: "more" };
}

function head(...lines: string[]): RequestHead {
  const sighting = answer(`${lines.join("\r\n")}\r\n\r\n`, 1);
  assert.equal(sighting.kind, "head", JSON.stringify(sighting));
  return sighting as RequestHead;
}

/** The lines that are sent on to the origin server. */
function forwarded(...lines: string[]): string[] {
  const text = head(...lines).forwarded.toString("latin1");
  assert.ok(text.endsWith("\r\n\r\n"));
  return text.slice(0, -4).split("\r\n");
}

const TARGETS: [string, string, number][] = [
  ["www.Example.com:443", "www.example.com", 443],
  ["www.example.com.:8443", "www.example.com", 8443],
  ["192.0.2.7:1", "192.0.2.7", 1],
  ["[2001:DB8::7]:65535", "2001:db8::7", 65_535],
];
for (const [authority, host, port] of TARGETS) {
  test(`CONNECT ${authority} goes to ${host} port ${port}`, () => {
    const { method, form, target } = head(`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`);
    assert.deepEqual({ method, form, target }, { method: "CONNECT", form: "authority", target: { host, port } });
  });
}

test("The head's length is reported, and the bytes after it are not read", () => {
  const text = "CONNECT a.example:443 HTTP/1.0\r\n\r\n";
  assert.partialDeepStrictEqual(answer(`${text}\x16\x03\x01\x00`), {
    kind: "head",
    headBytes: text.length,
    version: "1.0",
  });
});

test("An answer is repeated by every later push", () => {
  const reader = createRequestHeadReader();
  assert.equal(reader.push(Buffer.from("\n")).kind, "bad");
  assert.equal(reader.push(Buffer.from("GET / HTTP/1.1\r\n\r\n")).kind, "bad");
});

test("A request in absolute-form is sent on in origin-form, on a connection for one request", () => {
  assert.deepEqual(forwarded("GET http://www.example.com/a?b=c HTTP/1.1", "Host: www.example.com", "Accept: */*"), [
    "GET /a?b=c HTTP/1.1",
    "Host: www.example.com",
    "Accept: */*",
    "Connection: close",
  ]);
});

test("Absolute-form names the destination", () => {
  assert.deepEqual(head("GET HTTP://Example.com:8080 HTTP/1.1").target, { host: "example.com", port: 8080 });
  assert.deepEqual(head("GET http://[::1]/ HTTP/1.1").target, { host: "::1", port: 80 });
  assert.deepEqual(head("GET http://example.com:?q HTTP/1.1").target, { host: "example.com", port: 80 });
});

test("The Host field becomes the target's authority", () => {
  assert.deepEqual(forwarded("GET http://a.example:81/ HTTP/1.1", "X: 1", "host:  b.example").slice(0, 3), [
    "GET / HTTP/1.1",
    "X: 1",
    "Host: a.example:81",
  ]);
  assert.deepEqual(forwarded("GET http://a.example/ HTTP/1.0"), [
    "GET / HTTP/1.0",
    "Host: a.example",
    "Connection: close",
  ]);
});

test("An empty path becomes a slash, and for OPTIONS an asterisk", () => {
  assert.equal(forwarded("GET http://a.example HTTP/1.1")[0], "GET / HTTP/1.1");
  assert.equal(forwarded("GET http://a.example?q HTTP/1.1")[0], "GET /?q HTTP/1.1");
  assert.equal(forwarded("OPTIONS http://a.example HTTP/1.1")[0], "OPTIONS * HTTP/1.1");
});

test("Hop-by-hop fields and those that Connection names are dropped, and all others keep their bytes", () => {
  const lines = forwarded(
    "POST http://a.example/ HTTP/1.1",
    "Host: a.example",
    "Proxy-Authorization: Basic c2VjcmV0",
    "Proxy-Connection: keep-alive",
    "Keep-Alive: timeout=5",
    "TE: trailers",
    "Connection: keep-alive, X-Private",
    "x-private: 1",
    "X-Odd:\t caf\u00e9 \t",
    "Content-Length: 3",
  );
  assert.deepEqual(lines.slice(1), [
    "Host: a.example",
    "X-Odd:\t caf\u00e9 \t",
    "Content-Length: 3",
    "Connection: close",
  ]);
});

test("Connection cannot remove the fields that frame the message", () => {
  const lines = forwarded(
    "POST http://a.example/ HTTP/1.1",
    "Host: a.example",
    "Connection: host, content-length",
    "Content-Length: 3",
  );
  assert.deepEqual(lines.slice(1), ["Host: a.example", "Content-Length: 3", "Connection: close"]);
});

test("The upgrade to WebSocket is sent on", () => {
  const request = [
    "GET http://a.example/ws HTTP/1.1",
    "Host: a.example",
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
  ];
  assert.equal(head(...request).upgrade, true);
  assert.deepEqual(forwarded(...request).slice(2), ["Upgrade: websocket", "Connection: Upgrade"]);
});

test("An upgrade to h2c, and one that Connection does not name, are dropped", () => {
  const h2c = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"];
  assert.deepEqual(forwarded("GET http://a.example/ HTTP/1.1", "Host: a.example", ...h2c).slice(2), [
    "Connection: close",
  ]);
  const unnamed = forwarded("GET http://a.example/ HTTP/1.1", "Host: a.example", "Upgrade: websocket");
  assert.deepEqual(unnamed.slice(2), ["Connection: close"]);
});

test("A request for the node itself is recognised by its form", () => {
  assert.partialDeepStrictEqual(head("GET /status HTTP/1.1", "Host: proxy"), { form: "origin", target: undefined });
  assert.partialDeepStrictEqual(head("OPTIONS * HTTP/1.1", "Host: proxy"), { form: "asterisk", target: undefined });
});

const LINES: [string, number][] = [
  ["GET http://a.example/", 400],
  ["GET http://a.example/ HTTP/2.0", 505],
  ["GET  http://a.example/ HTTP/1.1", 400],
  ["G(T http://a.example/ HTTP/1.1", 400],
  ["GET http://a.example/\t HTTP/1.1", 400],
  ["GET * HTTP/1.1", 400],
  ["GET https://a.example/ HTTP/1.1", 400],
  ["GET ftp://a.example/ HTTP/1.1", 400],
  ["GET http:///path HTTP/1.1", 400],
  ["GET http://me:secret@a.example/ HTTP/1.1", 400],
  ["GET http://a.example/#part HTTP/1.1", 400],
  ["GET http://a.example:0/ HTTP/1.1", 400],
  ["GET http://a_%00.example/ HTTP/1.1", 400],
  ["CONNECT a.example HTTP/1.1", 400],
  ["CONNECT a.example: HTTP/1.1", 400],
  ["CONNECT a.example:0 HTTP/1.1", 400],
  ["CONNECT a.example:65536 HTTP/1.1", 400],
  ["CONNECT :443 HTTP/1.1", 400],
  ["CONNECT 2001:db8::7:443 HTTP/1.1", 400],
  ["CONNECT [192.0.2.7]:443 HTTP/1.1", 400],
  ["CONNECT [a.example]:443 HTTP/1.1", 400],
  ["CONNECT me@a.example:443 HTTP/1.1", 400],
  ["CONNECT http://a.example:443 HTTP/1.1", 400],
];
for (const [line, status] of LINES) {
  test(`${JSON.stringify(line)} is refused with ${status} at its end`, () => {
    assert.partialDeepStrictEqual(answer(`${line}\r\n`, 1), { kind: "bad", status });
  });
}

const FIELDS: [string, string][] = [
  ["obs-fold", "X: a\r\n b"],
  ["a space before the colon", "Host : a.example"],
  ["no colon", "nonsense"],
  ["an empty name", ": x"],
  ["a bare CR", "X: a\rb"],
  ["a bare LF", "X: a\nY: b"],
  ["a NUL", "X: a\0b"],
  ["a DEL", "X: a\x7fb"],
  ["two Host fields", "Host: a.example\r\nhost: a.example"],
  ["two Content-Length fields", "Content-Length: 3\r\nContent-Length: 3"],
  ["a list as Content-Length", "Content-Length: 3, 3"],
  ["a sign in Content-Length", "Content-Length: +3"],
  ["an empty Content-Length", "Content-Length:"],
  ["Content-Length and Transfer-Encoding", "Content-Length: 3\r\nTransfer-Encoding: chunked"],
  ["a last coding that is not chunked", "Transfer-Encoding: chunked, gzip"],
  ["an empty Transfer-Encoding", "Transfer-Encoding:"],
];
for (const [title, fields] of FIELDS) {
  test(`A head with ${title} is refused with 400`, () => {
    assert.partialDeepStrictEqual(answer(`POST http://a.example/ HTTP/1.1\r\n${fields}\r\n\r\n`), {
      kind: "bad",
      status: 400,
    });
  });
}

test("A Transfer-Encoding of HTTP/1.0 is refused with 400", () => {
  const text = "POST http://a.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
  assert.partialDeepStrictEqual(answer(text), { kind: "bad", status: 400 });
});

test("A request line above 8 KiB is refused with 414, a head above 16 KiB with 431", () => {
  assert.partialDeepStrictEqual(answer(`GET /${"a".repeat(9000)}`), { kind: "bad", status: 414 });
  const fields = `X: ${"a".repeat(1000)}\r\n`.repeat(17);
  assert.partialDeepStrictEqual(answer(`GET / HTTP/1.1\r\n${fields}`), { kind: "bad", status: 431 });
});

test("TLS on the proxy port is recognised by its first byte", () => {
  assert.equal(answer("\x16\x03\x01").kind, "tls");
  assert.equal(answer("\x80\x2e\x01").kind, "tls");
});

test("Garbage is refused before the line ends", () => {
  assert.partialDeepStrictEqual(answer("SSH\x01"), { kind: "bad", status: 400 });
});

const WORDS = [
  "GET ",
  "CONNECT ",
  "http://",
  "a.example",
  ":443",
  "/",
  " HTTP/1.1",
  "\r\n",
  "Host: a",
  "Connection: close",
  "\r",
  "\n",
  " ",
  "\0",
];
const TEXT = fc.oneof(
  fc.array(fc.constantFrom(...WORDS), { maxLength: 12 }).map((words) => words.join("")),
  fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("latin1")),
);

test("Any bytes give an answer, and cutting them anywhere changes nothing", () => {
  fc.assert(
    fc.property(TEXT, fc.integer({ min: 1, max: 40 }), (text, piece) => {
      const whole = answer(text);
      assert.ok(["more", "head", "bad", "tls"].includes(whole.kind));
      assert.deepEqual(answer(text, piece), whole);
    }),
  );
});

test("A head that is too large is refused wherever a line ends in it", () => {
  for (let pad = 0; pad < 8; pad += 1) {
    const head = `GET http://example.com/${"a".repeat(pad)} HTTP/1.1\r\n${"A: b\r\n".repeat(4_000)}`;
    const answer = createRequestHeadReader().push(Buffer.from(head));
    assert.deepEqual([answer.kind, "status" in answer && answer.status], ["bad", 431], `${pad} bytes more`);
  }
});
