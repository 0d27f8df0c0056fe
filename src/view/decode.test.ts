import assert from "node:assert/strict";
import { test } from "node:test";
import zlib from "node:zlib";
import { decodeBody, textDecoder } from "./decode.ts";
import type { ResponseHead } from "./messages.ts";

const LIMIT = 1024 * 1024;
const TEXT = Buffer.from("a body that is longer than one byte. ".repeat(50));

function head(...fields: ResponseHead["fields"]): ResponseHead {
  return { status: 200, reason: "", version: "HTTP/1.1", fields, size: 0 };
}

const CODINGS: readonly (readonly [coding: string, encode: (bytes: Buffer) => Buffer])[] = [
  ["", (bytes) => bytes],
  ["identity", (bytes) => bytes],
  ["gzip", zlib.gzipSync],
  ["X-GZIP", zlib.gzipSync],
  ["deflate", zlib.deflateSync],
  ["br", zlib.brotliCompressSync],
  ["zstd", zlib.zstdCompressSync],
  ["gzip, br", (bytes) => zlib.brotliCompressSync(zlib.gzipSync(bytes))],
  ["zstd, gzip, deflate", (bytes) => zlib.deflateSync(zlib.gzipSync(zlib.zstdCompressSync(bytes)))],
];

for (const [coding, encode] of CODINGS) {
  test(`The coding "${coding}" is undone, and a body that is cut gives its beginning`, async () => {
    const fields = head(["Content-Encoding", coding]);
    const bytes = encode(TEXT);
    assert.deepEqual(await decodeBody(fields, { bytes, isCut: false }, LIMIT), { bytes: TEXT, problem: null });
    const half = await decodeBody(fields, { bytes: bytes.subarray(0, bytes.length - 4), isCut: true }, LIMIT);
    assert.ok(TEXT.subarray(0, half.bytes.length).equals(half.bytes));
    assert.notEqual(half.problem, null);
  });
}

for (const [coding, encode] of CODINGS.slice(2)) {
  test(`A bomb in "${coding}" is decoded up to its bound`, async () => {
    const bytes = encode(Buffer.alloc(20 * LIMIT));
    const decoded = await decodeBody(head(["content-encoding", coding]), { bytes, isCut: false }, LIMIT);
    assert.ok(decoded.bytes.length <= LIMIT);
    assert.match(decoded.problem ?? "", /expands more than|only the first/);
  });
}

test("A bomb inside of a coding that gives nothing is decompressed no further", async () => {
  // A gzip stream that is nothing but empty blocks (RFC 1951, section 3.2.4).
  const empty = Buffer.alloc(5 * LIMIT, Buffer.from([0, 0, 0, 0xff, 0xff]));
  const head10 = zlib.gzipSync("").subarray(0, 10);
  const bytes = zlib.gzipSync(Buffer.concat([head10, empty]));
  const decoded = await decodeBody(head(["content-encoding", "gzip, gzip"]), { bytes, isCut: true }, LIMIT);
  assert.deepEqual(decoded, {
    bytes: Buffer.alloc(0),
    problem: "it expands more than 200 times: decompressed no further",
  });
});

test("What cannot be decoded is shown as it was sent, or as far as it could be", async () => {
  const body = { bytes: TEXT, isCut: false };
  const shown = async (coding: string) => {
    const { bytes, problem } = await decodeBody(head(["content-encoding", coding]), body, LIMIT);
    return [bytes.equals(TEXT), problem];
  };
  assert.deepEqual(await shown("compress"), [true, "the coding compress is not known: shown as it was sent"]);
  assert.deepEqual(await shown("br,br,br,br"), [true, "it has 4 codings: shown as it was sent"]);
  assert.deepEqual(await shown("gzip"), [false, "the rest is not in the coding that the head names"]);
  assert.deepEqual(await shown("zstd, gzip"), [false, "the rest is not in the coding that the head names"]);
});

test("Bodies of a textual type are text in their charset", () => {
  const decode = (type: string, bytes: Buffer) => textDecoder(head(["content-type", type]))?.decode(bytes);
  assert.equal(decode("application/problem+json", Buffer.from("é")), "é");
  assert.equal(decode("text/html; charset=ISO-8859-1", Buffer.from([0xe9])), "é");
  assert.equal(decode("text/plain; charset=nonsense", Buffer.from("é")), "é");
  assert.equal(decode("image/png", Buffer.from("é")), undefined);
});
