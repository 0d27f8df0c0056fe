import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { PREFACE } from "./http2.ts";
import { client, frame, readAll, type Said, server } from "./test-conversation.ts";

/** What no session may do to the view: throw, hold much memory, or be shown as what it is not. */

const MIB = 1024 * 1024;
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
/** A request in HPACK: GET http://www.example.com/. */
const FIELDS = Buffer.from("828684418cf1e3c2e5f23a6ba0ab90f4ff", "hex");

function* repeat(said: Said, times: number): Generator<Said> {
  for (let done = 0; done < times; done++) yield said;
}

function* http2(...frames: readonly Buffer[]): Generator<Said> {
  yield ["client", Buffer.concat([PREFACE, frame(4, 0, 0), frame(1, 5, 1, FIELDS)])];
  for (const one of frames) yield ["client", one];
}

function* endless(start: Iterable<Said>, said: Said, times: number): Generator<Said> {
  yield* start;
  yield* repeat(said, times);
}

/** A name, what is said, and why the view reads no further; "complete": nothing is wrong with it. */
const CASES: readonly (readonly [name: string, said: () => Iterable<Said>, stopped: RegExp])[] = [
  [
    "a head without an end",
    () => endless([client(GET), client("GET / HTTP/1.1\r\n")], client(`A: ${"b".repeat(1000)}\r\n`), 5000),
    /larger than/,
  ],
  [
    "a name without an end",
    () => endless([client(GET), client("GET / HTTP/1.1\r\n")], client("a".repeat(10_000)), 500),
    /larger than/,
  ],
  [
    "a target without an end",
    () => endless([client(GET), client("GET /")], client("a".repeat(10_000)), 500),
    /larger than/,
  ],
  ["many fields", () => endless([client(GET), client("GET / HTTP/1.1\r\n")], client("a: b\r\n"), 5000), /fields/],
  [
    "trailers without an end",
    () =>
      endless(
        [client(GET), server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")],
        server("a: b\r\n"),
        50_000,
      ),
    /larger than|fields/,
  ],
  [
    "Content-Length beside Transfer-Encoding",
    () => [client(GET), client("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n")],
    /HPE_/,
  ],
  [
    "two lengths",
    () => [client(GET), client("POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n")],
    /HPE_/,
  ],
  [
    "a bare line feed in a chunk's size",
    () => [client(GET), client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n")],
    /HPE_/,
  ],
  [
    "a chunk that is too large",
    () => [client(GET), client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n")],
    /HPE_/,
  ],
  [
    "a second response",
    () => [client(GET), server("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 204 No\r\n\r\n")],
    /response to no request/,
  ],
  ["a response before any request", () => [client("G"), server("HTTP/1.1 200 OK\r\n\r\n")], /response to no request/],
  ["requests without end", () => repeat(client(GET), 10_000), /wait for responses/],
  [
    "bytes without end before an upgrade is answered",
    () => endless([client(UPGRADE)], client("x".repeat(10_000)), 100),
    /before the protocol/,
  ],
  [
    "a switch that was not asked for",
    () => [client(GET), server("HTTP/1.1 101 No\r\nUpgrade: telnet\r\nConnection: upgrade\r\n\r\n"), server("x")],
    /complete/,
  ],
  [
    "tunnels in tunnels",
    () =>
      Array.from({ length: 40 }, (_, index) =>
        index % 2 === 0 ? client("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n") : server("HTTP/1.1 200 OK\r\n\r\n"),
      ),
    /upgrades and tunnels/,
  ],
  [
    "a CONTINUATION without end",
    () => endless(http2(frame(1, 0, 3, FIELDS)), ["client", frame(9, 0, 3, Buffer.alloc(100, 0x82))], 10_000),
    /field block has more/,
  ],
  [
    "empty CONTINUATIONs",
    () => endless(http2(frame(1, 0, 3, FIELDS)), ["client", frame(9, 0, 3)], 10_000),
    /field block has more/,
  ],
  [
    "a frame inside of a field block",
    () => http2(frame(1, 0, 3, FIELDS), frame(6, 0, 0, Buffer.alloc(8))),
    /inside of a field block/,
  ],
  [
    "SETTINGS without acknowledgement",
    () => endless(http2(), ["client", frame(4, 0, 0, Buffer.alloc(6))], 1000),
    /not acknowledged/,
  ],
  ["half a setting", () => http2(frame(4, 0, 0, Buffer.alloc(5))), /half a setting/],
  ["a HEADERS frame of 16 MiB", () => http2(frame(1, 4, 3, Buffer.alloc(0xffffff))), /has 16777215 bytes/],
  [
    "fields that are not HPACK",
    () => http2(frame(1, 5, 3, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))),
    /not HPACK/,
  ],
  ["half a field", () => http2(frame(1, 5, 3, Buffer.from([0x82, 0x41, 0x8c]))), /HPACK|middle of a field/],
  ["a field block that expands", () => http2(frame(1, 5, 3, expanding())), /expands to more/],
  ["more padding than payload", () => http2(frame(0, 8, 1, Buffer.from([200, 1]))), /more padding/],
  ["a request without a method", () => http2(frame(1, 5, 3, Buffer.from([0x84]))), /no :method/],
  ["a stream of number 0", () => http2(frame(1, 5, 0, FIELDS)), /no stream/],
  ["an RST_STREAM without a code", () => http2(frame(3, 0, 1, Buffer.from([1]))), /no code/],
  ["streams without end", () => openings(5000), /streams are open/],
  ["a response without a status", () => [...http2(), ["server", frame(1, 4, 1, Buffer.from([0x82]))]], /no :status/],
  [
    "a WebSocket's garbage",
    () => [client(UPGRADE), server(`${SWITCH}\r\n`), client("\xff\xff\xff\xff\xff")],
    /not a WebSocket/,
  ],
  [
    "a WebSocket's endless message",
    () =>
      endless(
        [client(UPGRADE), server(`${SWITCH}\r\n`), server("\x81\x7f\0\0\0\0\x7f\xff\xff\xff")],
        server("x".repeat(10_000)),
        500,
      ),
    /not a WebSocket/,
  ],
  [
    "a WebSocket's extensions",
    () => [
      client(UPGRADE),
      server(`${SWITCH}Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99\r\n\r\n`),
    ],
    /extensions/,
  ],
];

for (const [name, said, stopped] of CASES) {
  test(`Reading ends at ${name}, in bounded memory`, async () => {
    const { stopped: why, transactions, weight } = await readAll(said());
    if (stopped.source === "complete") assert.equal(transactions.at(-1)?.state, "complete");
    else assert.match(why ?? "", stopped);
    assert.ok(weight < MIB, `it held ${weight} bytes`);
    assert.ok(transactions.every(({ state }) => state !== "open"));
  });
}

test("A session that begins as HTTP and breaks at once is not taken for another protocol", async () => {
  const broken: readonly Said[] = [
    client("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ["client", Buffer.concat([PREFACE, frame(4, 0, 0, Buffer.alloc(5))])],
    client(`GET / HTTP/1.1\r\nHost: ${"a".repeat(100_000)}`),
  ];
  for (const said of broken) assert.equal((await readAll([said])).reading, "stopped");
});

test("Resets without end leave nothing behind but one transaction each", async () => {
  function* said(): Generator<Said> {
    yield* http2();
    for (let stream = 3; stream < 20_003; stream += 2)
      yield ["client", Buffer.concat([frame(1, 5, stream, FIELDS), frame(3, 0, stream, Buffer.alloc(4))])];
  }
  const { transactions, stopped, weight } = await readAll(said());
  assert.deepEqual([transactions.length, stopped], [10_001, undefined]);
  assert.ok(weight < MIB);
});

test("A WebSocket's message that expands too far ends its display", async () => {
  const bomb = deflateRawSync(Buffer.alloc(64 * MIB));
  const head = Buffer.alloc(10);
  head.writeUInt16BE(0xc27f);
  head.writeBigUInt64BE(BigInt(bomb.length), 2);
  const { transactions } = await readAll([
    client(UPGRADE),
    server(`${SWITCH}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n`),
    ["server", Buffer.concat([head, bomb])],
  ]);
  assert.match(transactions[0]?.problem ?? "", /not a WebSocket: Max payload size exceeded/);
});

test("Random and broken bytes never throw", async () => {
  const random = generator(20261128);
  const good: readonly Buffer[] = [
    Buffer.from(`${GET}POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc`),
    Buffer.concat([
      PREFACE,
      frame(4, 0, 0),
      frame(1, 5, 1, FIELDS),
      frame(1, 4, 3, FIELDS),
      frame(0, 1, 3, Buffer.from("x")),
    ]),
    Buffer.from(UPGRADE),
  ];
  const answers: readonly Buffer[] = [
    Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    Buffer.concat([
      frame(4, 0, 0),
      frame(4, 1, 0),
      frame(1, 4, 1, Buffer.from([0x88])),
      frame(0, 1, 1, Buffer.from("y")),
    ]),
    Buffer.from(`${SWITCH}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\x81\x02hi\xc1\x04aaaa`, "latin1"),
  ];
  for (let round = 0; round < 1500; round++) {
    const kind = random(3);
    const said = [
      ["client", broken(good[kind]!, random)],
      ["server", broken(answers[kind]!, random)],
      ["client", broken(Buffer.alloc(random(50), random(256)), random)],
    ] as const;
    const { transactions, weight } = await readAll(said);
    assert.ok(weight < MIB && transactions.every(({ state }) => state !== "open"));
  }
});

/** Numbers below a bound, the same in each run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** The bytes with a few of them changed. */
function broken(bytes: Buffer, random: (below: number) => number): Buffer {
  const copy = Buffer.from(bytes);
  for (let changes = random(4); changes > 0 && copy.length > 0; changes--) copy[random(copy.length)] = random(256);
  return copy.subarray(0, random(5) === 0 ? random(copy.length + 1) : copy.length);
}

/** One large field, and then 2,000 bytes that each mean the same field again. */
function expanding(): Buffer {
  const value = "v".repeat(4000);
  const literal = Buffer.concat([Buffer.from([0x40, 1]), Buffer.from("n"), lengthOf(value.length), Buffer.from(value)]);
  return Buffer.concat([FIELDS, literal, Buffer.alloc(2000, 0xbe)]);
}

/** A number in HPACK's seven bits and more (RFC 7541, section 5.1). */
function lengthOf(length: number): Buffer {
  const bytes = [0x7f];
  let rest = length - 0x7f;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function* openings(count: number): Generator<Said> {
  yield* http2();
  for (let stream = 3; stream < 2 * count; stream += 2) yield ["client", frame(1, 5, stream, FIELDS)];
}
