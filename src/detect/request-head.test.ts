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

test("A request in absolute-form is sent on in origin-form", () => {
  assert.deepEqual(forwarded("GET http://www.example.com/a?b=c HTTP/1.1", "Host: www.example.com", "Accept: */*"), [
    "GET /a?b=c HTTP/1.1",
    "Host: www.example.com",
    "Accept: */*",
  ]);
});

const PERSISTENCE: [title: string, version: string, fields: string[], sent: string | undefined][] = [
  ["nothing", "1.1", [], undefined],
  ["nothing in HTTP/1.0", "1.0", [], "close"],
  ["close", "1.1", ["Connection: close"], "close"],
  ["close to the proxy", "1.1", ["Proxy-Connection: Close"], "close"],
  ["keep-alive in HTTP/1.0", "1.0", ["Connection: Keep-Alive"], "keep-alive"],
  ["keep-alive to the proxy", "1.1", ["Proxy-Connection: keep-alive"], "keep-alive"],
  ["both", "1.1", ["Connection: keep-alive", "Connection: x, close"], "close"],
];
for (const [title, version, fields, sent] of PERSISTENCE) {
  test(`A client that asks ${title} of its connection asks the server for ${sent ?? "nothing"}`, () => {
    const lines = forwarded(`GET http://a.example/ HTTP/${version}`, "Host: a.example", ...fields);
    assert.deepEqual(lines.slice(2), sent ? [`Connection: ${sent}`] : []);
  });
}

const HOSTS: [line: string, host: string | undefined, named: string | undefined, isAmbiguous: boolean][] = [
  ["GET / HTTP/1.1", "A.Example:8080", "a.example", false],
  ["GET / HTTP/1.1", "a.example.", "a.example", false],
  ["GET / HTTP/1.1", "[2001:DB8::7]", "2001:db8::7", false],
  ["GET / HTTP/1.1", "", undefined, false],
  ["GET / HTTP/1.0", undefined, undefined, false],
  ["OPTIONS * HTTP/1.1", "a.example", "a.example", false],
  ["GET http://b.example/ HTTP/1.1", "b.example:80", "b.example", false],
  ["GET http://b.example/ HTTP/1.1", "a.example", "b.example", true],
  ["GET http://b.example/ HTTP/1.1", "a b", "b.example", true],
];
for (const [line, field, host, isAmbiguous] of HOSTS) {
  test(`${line} with ${field === undefined ? "no Host" : `Host ${JSON.stringify(field)}`} is for ${host ?? "no host"}`, () => {
    assert.partialDeepStrictEqual(head(line, ...(field === undefined ? [] : [`Host: ${field}`])), {
      host,
      isAmbiguous,
    });
  });
}

test("A Host field that is none is refused", () => {
  for (const host of ["a b", "a.example:0", "a.example:x", "caf\u00e9.example", "me@a.example", "a.example/x"])
    assert.partialDeepStrictEqual(answer(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`), { kind: "bad", status: 400 });
});

test("An empty line before a request is ignored", () => {
  const { headBytes, forwarded: sent } = head("", "GET http://a.example/ HTTP/1.1", "Host: a.example");
  assert.equal(headBytes, 53);
  assert.match(String(sent), /^GET \/ /);
});

test("Bytes beyond ASCII pass in a target", () => {
  assert.match(forwarded("GET http://a.example/caf\u00e9 HTTP/1.1")[0]!, /^GET \/caf\u00e9 /);
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
    "Connection: keep-alive",
  ]);
});

test("Connection cannot remove the fields that frame the message", () => {
  const lines = forwarded(
    "POST http://a.example/ HTTP/1.1",
    "Host: a.example",
    "Connection: host, content-length",
    "Content-Length: 3",
  );
  assert.deepEqual(lines.slice(1), ["Host: a.example", "Content-Length: 3"]);
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
  assert.deepEqual(forwarded("GET http://a.example/ HTTP/1.1", "Host: a.example", ...h2c).slice(2), []);
  const unnamed = forwarded("GET http://a.example/ HTTP/1.1", "Host: a.example", "Upgrade: websocket");
  assert.deepEqual(unnamed.slice(2), []);
});

test("User information and a fragment are not sent on; the server gets the first in the field that it reads", () => {
  assert.deepEqual(forwarded("GET http://me:s%3A%0d@a.example/b?c#part HTTP/1.1", "Host: a.example"), [
    ...["GET /b?c HTTP/1.1", `Authorization: Basic ${Buffer.from("me:s:\r").toString("base64")}`, "Host: a.example"],
  ]);
  assert.deepEqual(forwarded("GET http://me@a.example HTTP/1.1", "Host: a.example", "Authorization: own").slice(0, 3), [
    ...["GET / HTTP/1.1", "Host: a.example", "Authorization: own"],
  ]);
  assert.partialDeepStrictEqual(head("GET http://b.example:80@a.example/ HTTP/1.1", "Host: a.example"), {
    host: "a.example",
    target: { host: "a.example", port: 80 },
  });
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
  ["GET http://a.example@b.example@c.example/ HTTP/1.1", 400],
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

for (const [uri, host] of [
  ["ftp://user:secret@Files.example/a b", undefined],
  ["ftp://user:secret@Files.example/a#b", "files.example"],
  ["https://a.example", "a.example"],
  ["http://a.example@b.example@c.example/", undefined],
  ["http://a.example:x/", undefined],
  ["http:///a", undefined],
  ["a.example", undefined],
] as const) {
  test(`For another proxy the host of ${uri} is ${host ?? "none, and it is refused"}`, () => {
    const reader = createRequestHeadReader(undefined, "any");
    const answer = reader.push(Buffer.from(`GET ${uri} HTTP/1.1\r\n\r\n`));
    assert.equal("host" in answer ? answer.host : undefined, host);
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
  ["chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"],
  ["a coding like chunked", "Transfer-Encoding: xchunked"],
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

test("A target of 32 KiB and a head of 64 KiB are read, longer ones are refused with 414 and 431", () => {
  const target = (length: number) => `GET http://a.example/${"a".repeat(length - 17)} HTTP/1.1\r\n`;
  assert.equal(answer(`${target(32_768)}\r\n`).kind, "head");
  assert.partialDeepStrictEqual(answer(`${target(32_769)}\r\n`), { kind: "bad", status: 414 });
  assert.partialDeepStrictEqual(answer(`GET /${"a".repeat(33_000)}`), { kind: "bad", status: 414 });
  const fields = (length: number) => `X: ${"a".repeat(1_019)}\r\n`.repeat(length / 1_024);
  const line = "GET / HTTP/1.1\r\n";
  assert.equal(answer(`${line}${fields(63 * 1_024)}\r\n`).kind, "head");
  assert.partialDeepStrictEqual(answer(`${line}${fields(64 * 1_024)}`), { kind: "bad", status: 431 });
});

test("The limits are those of the configuration", () => {
  const reader = createRequestHeadReader({ requestHead: 100, requestTarget: 20 });
  assert.partialDeepStrictEqual(reader.push(Buffer.from(`GET /${"a".repeat(20)} HTTP/1.1\r\n`)), { status: 414 });
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
    const head = `GET http://example.com/${"a".repeat(pad)} HTTP/1.1\r\n${"A: b\r\n".repeat(16_000)}`;
    const answer = createRequestHeadReader().push(Buffer.from(head));
    assert.deepEqual([answer.kind, "status" in answer && answer.status], ["bad", 431], `${pad} bytes more`);
  }
});

const BROWSER = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
const PAGES: readonly (readonly [string, readonly string[], boolean])[] = [
  ["GET", [BROWSER], true],
  ["HEAD", [BROWSER], true],
  ["POST", [BROWSER], false],
  ["POST", [BROWSER, "Sec-Fetch-Mode: navigate"], true],
  ["GET", [BROWSER, "Sec-Fetch-Mode: cors"], false],
  ["GET", ["Accept: */*"], false],
  ["GET", ["Accept: text/*"], false],
  ["GET", ["Accept: text/html;q=0"], false],
  ["GET", ["Accept: text/html; q=0.000, */*"], false],
  ["GET", ["Accept: text/html;q=0.1"], true],
  ["GET", ["Accept: application/json", "Accept: TEXT/HTML"], true],
  ["GET", ["Accept: text/htmlx"], false],
  ["GET", [], false],
];
test("A page is wanted by who accepts HTML by name and navigates; a proxy's CONNECT takes one unless it says otherwise", () => {
  for (const [method, fields, wants] of PAGES) {
    const { wantsPage } = head(`${method} / HTTP/1.1`, "Host: a.example", ...fields);
    assert.equal(wantsPage, wants, `${method} ${fields.join(" ")}`);
  }
  const connect = (...fields: string[]) => head("CONNECT a.example:443 HTTP/1.1", ...fields);
  assert.deepEqual([connect().wantsPage, connect("Accept: */*").wantsPage], [true, false]);
  const agents = ["User-Agent: Mozilla/5.0 (X11)", "User-Agent: curl/8.5", "X: Mozilla/5.0"];
  assert.deepEqual(
    agents.map((agent) => connect(agent).isBrowser),
    [true, false, false],
  );
});

test("The path of a request is that of its target", () => {
  assert.equal(head("GET http://a.example/b?c HTTP/1.1").path, "/b?c");
  assert.equal(head("GET /b?c HTTP/1.1", "Host: a.example").path, "/b?c");
});
