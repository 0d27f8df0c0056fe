import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Side } from "../vocabulary.ts";
import { Exchange } from "./exchange.ts";
import { REQUEST_LIMITS } from "./request-head.ts";

/**
 * Plays what the two sides say, in order, cut into pieces. Answers what has passed of each, and how it ended. Bytes that wait are
 * given again after each piece of the other side.
 */
function play(
  conversation: readonly (readonly [side: Side, text: string])[],
  { rewrites = false, piece = Number.POSITIVE_INFINITY }: { rewrites?: boolean; piece?: number } = {},
) {
  const aim = rewrites ? { host: "a.example", port: 80 } : { host: "a.example" };
  const exchange = new Exchange(aim, { limits: REQUEST_LIMITS, rewrites });
  const waiting = { client: Buffer.alloc(0), server: Buffer.alloc(0) };
  const owed = { client: 0, server: 0 };
  const passed = { client: "", server: "" };
  let end = "more";
  const move = (side: Side) => {
    for (;;) {
      if (owed[side] > 0) {
        const part = waiting[side].subarray(0, owed[side]);
        passed[side] += part.toString("latin1");
        waiting[side] = waiting[side].subarray(part.length);
        owed[side] -= part.length;
        if (owed[side] > 0) return;
        exchange.passed(side);
      }
      const step = exchange.next(side, waiting[side]);
      end = step.kind;
      if (step.kind === "pass") owed[side] = step.length;
      else if (step.kind === "replace") {
        waiting[side] = Buffer.concat([step.by, waiting[side].subarray(step.drop)]);
        owed[side] = step.length;
      } else return;
    }
  };
  for (const [side, text] of conversation) {
    const bytes = Buffer.from(text, "latin1");
    for (let at = 0; at < bytes.length || at === 0; at += Math.min(piece, bytes.length || 1)) {
      waiting[side] = Buffer.concat([waiting[side], bytes.subarray(at, at + piece)]);
      move(side);
      move(side === "client" ? "server" : "client");
      move("client");
    }
  }
  return { passed, end };
}

const HOST = "Host: a.example\r\n";
const GET = `GET / HTTP/1.1\r\n${HOST}\r\n`;
const OTHER = "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;

test("Requests for one host pass, and one for another waits for the answers before it", () => {
  const before = play([
    ["client", GET + GET + OTHER],
    ["server", OK],
  ]);
  assert.deepEqual(before, { passed: { client: GET + GET, server: OK }, end: "wait" });
  const after = play([
    ["client", GET + GET + OTHER],
    ["server", OK + OK],
  ]);
  assert.deepEqual(after, { passed: { client: GET + GET, server: OK + OK }, end: "leave" });
});

for (const [title, next] of [
  ["a CONNECT", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n"],
  ["a malformed request", "GET / HTTP/1.1\r\nHost: a.example\r\nnonsense\r\n\r\n"],
  ["a request without a host", "GET / HTTP/1.0\r\n\r\n"],
  ["a request with two hosts", "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n"],
] as const) {
  test(`After ${title} the session is left, and nothing of it passes`, () => {
    assert.deepEqual(
      play([
        ["client", GET + next],
        ["server", OK],
      ]),
      { passed: { client: GET, server: OK }, end: "leave" },
    );
  });
}

test("A proxy's requests are rewritten, and those for another port are another session's", () => {
  const ask = (port: string) => `GET http://a.example${port}/x HTTP/1.1\r\n${HOST}Proxy-Connection: keep-alive\r\n\r\n`;
  const { passed, end } = play(
    [
      ["client", ask("") + ask(":80") + ask(":81")],
      ["server", OK + OK],
    ],
    { rewrites: true },
  );
  assert.match(
    passed.client,
    /^(?:GET \/x HTTP\/1\.1\r\nHost: a\.example(?::80)?\r\nConnection: keep-alive\r\n\r\n){2}$/,
  );
  assert.equal(end, "leave");
  const direct = play([["client", GET]], { rewrites: true });
  assert.deepEqual([direct.passed.client, direct.end], ["", "leave"]);
});

const ANSWERS: readonly (readonly [title: string, asked: string, answer: string])[] = [
  ["a length", GET, OK],
  ["chunks", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"],
  ["none, to HEAD", `HEAD / HTTP/1.1\r\n${HOST}\r\n`, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"],
  ["none, by its status", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"],
  ["interim answers before it", GET, `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}`],
  ["a request in chunks", `${CHUNKED}3\r\nabc\r\n1F;x\r\n${"d".repeat(31)}\r\n0\r\nX: y\r\n\r\n`, OK],
  ["a request with a length", `POST / HTTP/1.1\r\n${HOST}Content-Length: 43\r\n\r\n${OTHER}12345678`, OK],
  ["a refused upgrade", `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: x\r\n\r\n`, OK],
];
for (const [title, asked, answer] of ANSWERS) {
  test(`The end of an answer is known: ${title}`, () => {
    for (const piece of [1, 2, 7, Number.POSITIVE_INFINITY]) {
      const { passed, end } = play(
        [
          ["client", asked],
          ["server", answer],
          ["client", OTHER],
        ],
        { piece },
      );
      assert.deepEqual([passed, end], [{ client: asked, server: answer }, "leave"]);
    }
  });
}

test("An answer whose end cannot be told lasts, and requests are judged on", () => {
  for (const answer of [
    "HTTP/1.1 200 OK\r\n\r\nany",
    "ICY 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
  ]) {
    const { passed, end } = play([
      ["client", GET],
      ["server", answer],
      ["client", GET + OTHER],
      ["server", OK],
    ]);
    assert.deepEqual([passed, end], [{ client: GET + GET, server: answer + OK }, "wait"]);
  }
});

test("After an upgrade anything passes, and what the client says before it waits", () => {
  const wish = `GET / HTTP/1.1\r\n${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
  assert.deepEqual(play([["client", `${wish}\x01\x02`]]).passed.client, wish);
  const switched = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
  const exchange = new Exchange({ host: "a.example" }, { limits: REQUEST_LIMITS, rewrites: false });
  assert.deepEqual(exchange.next("client", Buffer.from(wish)), { kind: "pass", length: wish.length });
  exchange.passed("client");
  assert.equal(exchange.next("server", Buffer.from(switched)).kind, "through");
  assert.equal(exchange.next("client", Buffer.from(OTHER)).kind, "through");
});

test("An upgrade to h2c is one where heads pass as they are, and none where they are rewritten", () => {
  const fields = `${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`;
  const switched = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
  for (const [rewrites, line, kind] of [
    [false, "GET / HTTP/1.1", "through"],
    [true, "GET http://a.example/ HTTP/1.1", "pass"],
  ] as const) {
    const aim = { host: "a.example", port: rewrites ? 80 : undefined };
    const exchange = new Exchange(aim, { limits: REQUEST_LIMITS, rewrites });
    exchange.next("client", Buffer.from(`${line}\r\n${fields}`));
    exchange.passed("client");
    assert.equal(exchange.next("server", Buffer.from(switched)).kind, kind);
  }
});

test("A 101 that nobody asked for does not let the client's requests pass unread", () => {
  const { passed } = play([
    ["client", GET],
    ["server", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ["client", OTHER],
  ]);
  assert.equal(passed.client, GET);
});

test("A chunked request whose chunks are none is malformed", () => {
  for (const body of [
    "x\r\n",
    "3\r\nabcd\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "\r\n",
    "0x3\r\n",
    "-1\r\n",
    "3 x\r\n",
    "3;\x01\r\n",
    "0\r\n x\r\n",
  ])
    assert.equal(play([["client", CHUNKED + body]]).end, "malformed", JSON.stringify(body));
  assert.equal(play([["client", `${CHUNKED}1;${"x".repeat(5_000)}`]]).end, "malformed");
  assert.equal(play([["client", `${CHUNKED}0\r\n${`X: ${"y".repeat(1_000)}\r\n`.repeat(70)}`]]).end, "malformed");
});

test("No more requests than 128 wait for their answers", () => {
  const { passed, end } = play([["client", GET.repeat(200)]]);
  assert.deepEqual([passed.client.length, end], [128 * GET.length, "wait"]);
  assert.equal(
    play([
      ["client", GET.repeat(200)],
      ["server", OK.repeat(200)],
    ]).passed.client.length,
    200 * GET.length,
  );
});

const WORDS = [GET, OTHER, OK, CHUNKED, "3\r\nabc\r\n", "0\r\n\r\n", "\r\n", "HTTP/1.1 100 C\r\n\r\n", "x", "\0"];
const SAID = fc.array(fc.tuple(fc.constantFrom<Side>("client", "server"), fc.constantFrom(...WORDS)), {
  maxLength: 12,
});

test("Cutting the bytes anywhere changes nothing that passes, and no request for another host passes", () => {
  fc.assert(
    fc.property(SAID, fc.integer({ min: 1, max: 40 }), (said, piece) => {
      const whole = play(said);
      assert.deepEqual(play(said, { piece }).passed, whole.passed);
      assert.ok(!whole.passed.client.includes(OTHER));
    }),
  );
});
