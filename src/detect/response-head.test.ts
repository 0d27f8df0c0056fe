import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readResponseHead } from "./response-head.ts";

function read(lines: readonly string[], toHead = false) {
  return readResponseHead(Buffer.from(`${lines.join("\r\n")}\r\n\r\nbody`, "latin1"), toHead);
}

/** RFC 9112, section 6.3. */
const BODIES: readonly (readonly [lines: readonly string[], body: number | "chunked" | "until close"])[] = [
  [["HTTP/1.1 200 OK", "Content-Length: 12"], 12],
  [["HTTP/1.1 200 OK", "content-length:12", "Content-Length: 12 , 12"], 12],
  [["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, Chunked"], "chunked"],
  [["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Content-Length: 12"], "chunked"],
  [["HTTP/1.1 200 OK", "Transfer-Encoding: identity", "Content-Length: 12"], 12],
  [["HTTP/1.1 200 OK", "Transfer-Encoding: chunked, gzip"], "until close"],
  [["HTTP/1.1 200 OK", "Content-Length: 12", "Content-Length: 13"], "until close"],
  [["HTTP/1.1 200 OK", "Content-Length: x"], "until close"],
  [["HTTP/1.1 200 OK"], "until close"],
  [["HTTP/1.0 200"], "until close"],
  [["HTTP/1.1 204 No Content", "Content-Length: 12"], 0],
  [["HTTP/1.1 304 Not Modified", "Content-Length: 12"], 0],
  [["HTTP/1.1 101 Switching Protocols"], 0],
  [["HTTP/1.1 100 Continue"], 0],
];
for (const [lines, body] of BODIES) {
  test(`The body of ${lines.join(", ")} is ${body}`, () => {
    assert.partialDeepStrictEqual(read(lines), { kind: "head", body });
  });
}

test("The answer to HEAD has no body, whatever it says", () => {
  assert.partialDeepStrictEqual(read(["HTTP/1.1 200 OK", "Content-Length: 12"], true), { body: 0 });
});

test("A head may have bare LF line ends", () => {
  const text = "HTTP/1.1 200 OK\nContent-Length: 4\n\nbody";
  assert.deepEqual(readResponseHead(Buffer.from(text), false), {
    ...{ kind: "head", status: 200, body: 4, headBytes: text.length - 4 },
  });
});

test("What is no HTTP/1.x response, and a head above 64 KiB, lasts until the connection's end", () => {
  for (const text of ["ICY 200 OK\r\n\r\n", "HTTP/2 200\r\n\r\n", "<html>", "HTTP/1.1 2xx\r\n\r\n"])
    assert.equal(readResponseHead(Buffer.from(text), false).kind, "unknown");
  const endless = Buffer.from(`HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(11_000)}`);
  assert.equal(readResponseHead(endless, false).kind, "unknown");
});

test("A head that has not ended needs more, and any bytes give an answer", () => {
  const text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
  for (let end = 0; end < text.length; end += 1)
    assert.equal(readResponseHead(Buffer.from(text.slice(0, end)), false).kind, "more");
  fc.assert(
    fc.property(fc.uint8Array(), fc.boolean(), (bytes, toHead) => {
      const { kind } = readResponseHead(Buffer.concat([Buffer.from("HTTP/1."), bytes]), toHead);
      assert.ok(["more", "head", "unknown"].includes(kind));
    }),
  );
});
