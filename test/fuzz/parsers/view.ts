import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { BodyDecoder } from "../../../src/view/decode.ts";
import { PREFACE } from "../../../src/view/http2.ts";
import { frame, readAll } from "../../../src/view/test-conversation.ts";
import { conversation, type Parser, turnsOf } from "../parser.ts";

/** The HTTP view, which reads the plaintext of strangers: HTTP/1.x, HTTP/2, WebSocket, and what bodies are coded in. */

const ascii = (text: string) => Buffer.from(text.replaceAll("\n", "\r\n"), "latin1");
/** HPACK: GET http://www.example.com/, and 200. */
const [ASKED, ANSWERED] = [Buffer.from("828684418cf1e3c2e5f23a6ba0ab90f4ff", "hex"), Buffer.from("88", "hex")];
const UPGRADE = "GET /chat HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket\n\n";

const CONVERSATIONS = [
  conversation(
    ["client", ascii("GET / HTTP/1.1\nHost: a\n\n")],
    ["server", ascii("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi")],
  ),
  conversation(
    ["client", ascii("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n")],
    ["server", ascii("HTTP/1.1 200 OK\nContent-Encoding: gzip\nTransfer-Encoding: chunked\n\n0\nX: y\n\n")],
  ),
  conversation(
    ["client", Buffer.concat([PREFACE, frame(4, 0, 0), frame(1, 5, 1, ASKED)])],
    ["server", Buffer.concat([frame(4, 0, 0), frame(4, 1, 0), frame(1, 4, 1, ANSWERED), frame(0, 1, 1, ascii("hi"))])],
  ),
  conversation(
    ["client", ascii(UPGRADE)],
    ["server", Buffer.concat([ascii(SWITCH), Buffer.from("8102686981000900", "hex")])],
    ["client", Buffer.from("818200000000686988800000 0000".replace(" ", ""), "hex")],
  ),
  conversation(
    ["client", ascii("CONNECT a:1 HTTP/1.1\nHost: a\n\n")],
    ["server", ascii("HTTP/1.1 200 OK\n\n")],
    ["client", ascii("GET / HTTP/1.1\nHost: a\n\n")],
  ),
];

async function view(input: Buffer): Promise<void> {
  const { weight, reading } = await readAll(turnsOf(input), 64 * 1024);
  assert.ok(weight < 4 * 2 ** 20, `the reader holds ${weight} bytes`);
  assert.ok(["detecting", "http", "other", "stopped"].includes(reading));
}

async function decode(bytes: Buffer): Promise<void> {
  const head = { fields: [["content-encoding", "gzip"]] } as unknown as ConstructorParameters<typeof BodyDecoder>[0];
  const decoder = new BodyDecoder(head, 256 * 1024);
  const given = [await decoder.push(bytes), await decoder.end()];
  assert.ok(Buffer.concat(given).length <= 256 * 1024);
}

export const VIEW_PARSERS: readonly Parser[] = [
  {
    name: "http-view",
    of: "both peers: HTTP/1.x, HTTP/2, WebSocket in the HTTP view",
    seeds: CONVERSATIONS,
    read: view,
    every: 10,
  },
  {
    name: "body",
    of: "both peers: coded bodies in the HTTP view",
    seeds: [gzipSync(Buffer.alloc(5_000, "text ")), gzipSync(Buffer.alloc(0))],
    read: decode,
    every: 50,
    atOnce: 8,
  },
];
