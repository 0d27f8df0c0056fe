import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { helloMessage, inRecords, serverHello, serverNames } from "../../test/recorded/client-hello/build.ts";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import { PeerError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { createClientHelloReader } from "./client-hello-reader.ts";
import { type ExchangeRules, HelloExchange } from "./hello-exchange.ts";
import { record } from "./record.ts";
import { vector8, vector16 } from "./writer.ts";

const named = (name: string) => inRecords(helloMessage({ extensions: [[0, serverNames([0, name])]] }));
const nameless = inRecords(helloMessage({ extensions: [] }));

const RETRY_REQUEST = serverHello(0x0304, true);
const WARNING = Buffer.from("15030300020170", "hex");
const CHANGE = Buffer.from("140303000101", "hex");
const EARLY = record(23, 0x0303, Buffer.alloc(300));
const NEW_TICKET = record(22, 0x0303, Buffer.from("04000006000000000000", "hex"));
const FIRST = named("bank.example");

type Line = readonly [Side, Buffer];
const script = (...lines: (string | Buffer)[]): Line[] =>
  Array.from({ length: lines.length / 2 }, (_, at) => [
    lines[2 * at] === "<" ? "server" : "client",
    lines[2 * at + 1] as Buffer,
  ]);

/** What comes of the lines, in pieces of one size: "settled", "open", or the fault; and that all bytes have passed. */
function play(lines: readonly Line[], rules: Partial<ExchangeRules> = {}, piece = 1 << 20): string {
  const sighting = createClientHelloReader().push(FIRST);
  assert.ok(sighting.kind === "hello");
  const exchange = new HelloExchange({ hello: sighting.hello, ...rules });
  try {
    for (const [side, bytes] of lines) {
      let waiting: Buffer = Buffer.alloc(0);
      for (let at = 0; at < bytes.length; at += piece) {
        waiting = Buffer.concat([waiting, bytes.subarray(at, at + piece)]);
        const passed = exchange.feed(side, waiting);
        assert.ok(waiting.length - passed <= 1, "at most one byte is held back");
        waiting = waiting.subarray(passed);
      }
      assert.equal(waiting.length, 0, "a whole message passes");
    }
    return exchange.isSettled ? "settled" : "open";
  } catch (error) {
    if (error instanceof PeerError) return error.message;
    throw error;
  }
}

const OTHER = /^The client's second ClientHello names another host, no\.example$/;
const beyond = { beyondNode: true };
const OLD_SUITE = serverHello(0x0303, false, { suite: 0x000a });
const OTHER_GROUP = serverHello(0x0304, false, { extensions: [Buffer.from("003300066399000200ff", "hex")] });
const PRE_SHARED = serverHello(0x0304, false, { extensions: [Buffer.from("002900020000", "hex")] });
const above12 = { isForbidden: (version: number) => version >= 0x0303 };

const SSLV2_HELLO: ExchangeRules["hello"] = {
  format: "sslv2",
  versions: [2],
  ...{ serverName: undefined, serverAddress: undefined, alpnProtocols: [], cipherSuites: [], supportedGroups: [] },
};

/** The first hello with other protocols, suites or groups. */
const changedBy = (parts: { suites?: number[]; more?: (readonly [number, Buffer])[] }) =>
  inRecords(
    helloMessage({
      ...(parts.suites && { suites: parts.suites }),
      extensions: [[0, serverNames([0, "bank.example"])], ...(parts.more ?? [])],
    }),
  );

const CASES: [title: string, lines: Line[], rules: Partial<ExchangeRules>, expected: string | RegExp][] = [
  ["A ServerHello settles it", script(">", FIRST, "<", serverHello(0x0304)), {}, "settled"],
  ["So does one behind a warning", script(">", FIRST, "<", WARNING, "<", serverHello(0x0303)), {}, "settled"],
  ["A retry leaves it open", script(">", FIRST, "<", RETRY_REQUEST, ">", FIRST), {}, "open"],
  [
    "The same name after a retry passes",
    script(
      ">",
      FIRST,
      "<",
      RETRY_REQUEST,
      "<",
      CHANGE,
      ">",
      CHANGE,
      ">",
      named("BANK.example."),
      "<",
      serverHello(0x0304),
    ),
    {},
    "settled",
  ],
  ["Another name does not", script(">", FIRST, "<", RETRY_REQUEST, ">", named("no.example")), {}, OTHER],
  [
    "Nor behind early data and change_cipher_spec",
    script(">", FIRST, ">", EARLY, "<", CHANGE, "<", RETRY_REQUEST, ">", CHANGE, ">", named("no.example")),
    {},
    OTHER,
  ],
  ["Nor before the retry is asked for", script(">", FIRST, ">", named("no.example")), {}, OTHER],
  ["Nor after an alert", script(">", FIRST, "<", WARNING, ">", named("no.example")), {}, OTHER],
  ["Nor does no name", script(">", FIRST, "<", RETRY_REQUEST, ">", nameless), {}, /names no host$/],
  [
    "Nor other suites",
    script(">", FIRST, "<", RETRY_REQUEST, ">", changedBy({ suites: [0x1302] })),
    {},
    /other cipher suites/,
  ],
  [
    "Nor other protocols",
    script(">", FIRST, "<", RETRY_REQUEST, ">", changedBy({ more: [[16, vector16(vector8(Buffer.from("h2")))]] })),
    {},
    /other ALPN protocols/,
  ],
  [
    "Another share may",
    script(">", FIRST, "<", RETRY_REQUEST, ">", changedBy({ more: [[51, vector16(Buffer.alloc(0))]] })),
    {},
    "open",
  ],
  [
    "An address is not a name",
    script(">", FIRST, "<", RETRY_REQUEST, ">", named("192.0.2.1")),
    {},
    /names another host, 192\.0\.2\.1$/,
  ],
  [
    "A second retry is out of place",
    script(">", FIRST, "<", RETRY_REQUEST, ">", FIRST, "<", RETRY_REQUEST),
    {},
    /out of place/,
  ],
  [
    "So is a retry for a client that spoke something else",
    script(">", FIRST, ">", Buffer.from("GET / HTTP/1.0\r\n"), "<", RETRY_REQUEST),
    {},
    /out of place/,
  ],
  [
    "A server that does not speak TLS is the client's to refuse",
    script(">", FIRST, "<", Buffer.from("HTTP/1.1 400")),
    {},
    "settled",
  ],
  [
    "So is a ServerHello that cannot be read",
    script(">", FIRST, "<", Buffer.from("160303000402000000", "hex")),
    {},
    "settled",
  ],
  ["A version that policy bypasses passes", script(">", FIRST, "<", serverHello(0x0302)), above12, "settled"],
  [
    "One that it does not bypass is cut",
    script(">", FIRST, "<", serverHello(0x0303)),
    above12,
    /^The server chose TLSv1\.2,/,
  ],
  [
    "So is TLS 1.3, by its extension",
    script(">", FIRST, "<", WARNING, "<", serverHello(0x0304)),
    above12,
    /chose TLSv1\.3,/,
  ],
  ["What the node cannot do passes: a suite", script(">", FIRST, "<", OLD_SUITE), beyond, "settled"],
  ["A group", script(">", FIRST, "<", OTHER_GROUP), beyond, "settled"],
  ["A pre-shared key", script(">", FIRST, "<", PRE_SHARED), beyond, "settled"],
  ["What it could have done is a fault", script(">", FIRST, "<", serverHello(0x0304)), beyond, /had refused/],
  ["So is a retry", script(">", FIRST, "<", RETRY_REQUEST), above12, /chose TLSv1\.3,/],
  ["So is what is no ServerHello", script(">", FIRST, "<", Buffer.from("HTTP/1.1")), above12, /are not a ServerHello/],
  ["So are records of data", script(">", FIRST, "<", EARLY), above12, /are not a ServerHello/],
  [
    "After a bypass that is to be verified, a session that goes back to an earlier one shows no certificate",
    script(">", FIRST, "<", serverHello(0x0303), "<", NEW_TICKET, "<", CHANGE),
    { certificate: "may" },
    "settled",
  ],
  [
    "A client without an earlier session must be shown one",
    script(">", FIRST, "<", serverHello(0x0303), "<", CHANGE),
    { certificate: "must" },
    /showed no certificate/,
  ],
  [
    "A server without a certificate is not verified",
    script(">", FIRST, "<", serverHello(0x0303), "<", Buffer.from("160303000400000000", "hex").fill(12, 5, 6)),
    { certificate: "may" },
    /showed no certificate/,
  ],
  [
    "Neither is one that begins with data",
    script(">", FIRST, "<", EARLY),
    { certificate: "must" },
    /are not a ServerHello/,
  ],
  [
    "Nor one that chooses TLS 1.3, which the client did not offer",
    script(">", FIRST, "<", serverHello(0x0304), "<", EARLY),
    { certificate: "must" },
    /showed no certificate/,
  ],
  ["In TLS 1.3 it is encrypted", script(">", FIRST, "<", serverHello(0x0304)), { certificate: "may" }, "settled"],
  [
    "A server of SSL 2.0 answers its client as it likes",
    script(">", FIRST, "<", Buffer.from("8030040001", "hex")),
    { ...above12, hello: SSLV2_HELLO },
    "settled",
  ],
];

for (const [title, lines, rules, expected] of CASES) {
  test(title, () => {
    const whole = play(lines, rules);
    if (typeof expected === "string") assert.equal(whole, expected);
    else assert.match(whole, expected);
    for (const piece of [1, 2, 3, 7, 64]) assert.equal(play(lines, rules, piece), whole, `in pieces of ${piece}`);
  });
}

test("A message in records of one byte is read", () => {
  const lines = script(
    ">",
    FIRST,
    "<",
    RETRY_REQUEST,
    ">",
    inRecords(helloMessage({ extensions: [[0, serverNames([0, "no.example"])]] }), 1),
  );
  assert.match(play(lines), OTHER);
  assert.match(play(lines, {}, 1), OTHER);
});

test("The last byte of a second hello with another name never passes", () => {
  const sighting = createClientHelloReader().push(FIRST);
  assert.ok(sighting.kind === "hello");
  const second = named("no.example");
  const exchange = new HelloExchange({ hello: sighting.hello });
  exchange.feed("client", FIRST);
  exchange.feed("server", RETRY_REQUEST);
  assert.equal(exchange.feed("client", second.subarray(0, -1)), second.length - 2);
  assert.throws(() => exchange.feed("client", second.subarray(-2)), PeerError);
});

test("Whatever the peers send, bytes pass or a PeerError says why not", () => {
  const side = fc.constantFrom<Side>("client", "server");
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)),
    fc.constantFrom(FIRST, RETRY_REQUEST, WARNING, CHANGE, EARLY, RECORDED["go"]!, serverHello(0x0303)),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(side, bytes), { maxLength: 6 }), fc.integer({ min: 1, max: 9 }), (lines, piece) => {
      const shortened = lines.map(([who, what]) => [who, what.subarray(0, what.length)] as const);
      const outcome = (size: number) => {
        try {
          return play(shortened, {}, size);
        } catch (error) {
          // The script ends in the middle of a message.
          if (error instanceof assert.AssertionError && /whole message/.test(error.message)) return "cut short";
          throw error;
        }
      };
      assert.equal(outcome(piece), outcome(1 << 20));
    }),
  );
});
