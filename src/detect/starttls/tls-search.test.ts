import assert from "node:assert/strict";
import { test } from "node:test";
import { RECORDED } from "../../../test/recorded/client-hello/recorded.ts";
import type { Side } from "../../vocabulary.ts";
import { openWatch } from "./dialogues.ts";
import { type SearchProgress, TlsSearch } from "./tls-search.ts";

const HELLO = RECORDED["go"]!;
const SERVER_HELLO = Buffer.from("160303007a0200007603030102030405", "hex");

type Line = string | readonly [Side, Buffer];

/** What the last line came to; the lines before it must pass. "> " lines are the client's, "< " lines the server's. */
function say(search: TlsSearch, lines: readonly Line[]): SearchProgress {
  let last: SearchProgress | undefined;
  for (const line of lines) {
    const [side, bytes] = typeof line === "string" ? sayOf(line) : line;
    last = search.feed(side, bytes, true);
    if (last.kind === "plain" && last.at < bytes.length) last = search.feed(side, bytes.subarray(last.at), true);
  }
  return last!;
}

function sayOf(line: string): [Side, Buffer] {
  return [line.startsWith(">") ? "client" : "server", Buffer.from(`${line.slice(2)}\r\n`, "latin1")];
}

const open = (strict = false) => new TlsSearch(openWatch({ startTls: true }), strict);
const client = (...bytes: readonly (Buffer | string)[]): Line => [
  "client",
  Buffer.concat(bytes.map((one) => Buffer.from(one))),
];

/** Conversations after which a client begins TLS, none of which is a dialogue that the node knows. */
const ODD: Readonly<Record<string, readonly Line[]>> = {
  IRC: ["> STARTTLS", "< :irc.test 670 me :go ahead"],
  RDP: [
    client(Buffer.from("0300001302e000000000000100080003000000", "hex")),
    ["server", Buffer.from("030000130ed00000123400021f080002000000", "hex")],
  ],
  Telnet: [
    ["server", Buffer.from("fffd2e", "hex")],
    client(Buffer.from("fffb2efffa2e01fff0", "hex")),
    ["server", Buffer.from("fffa2e01fff0", "hex")],
  ],
  "an invented one": ["< HOLA 1", "> SECURE ME", "< YES"],
  "a greeting with a control character": ["< 220 hi\x07", "> EHLO a", "< 250 STARTTLS", "> STARTTLS", "< 220 go"],
  "a greeting of 17 kB": [`< 220 ${"x".repeat(17_000)}`, "> STARTTLS", "< 220 go"],
  "an empty line first": ["< ", "< 220 hi", "> STARTTLS", "< 220 go"],
  "another line first": ["< please wait", "< 220 hi", "> STARTTLS", "< 220 go"],
  "a greeting of another protocol": ["< + hi", "> STLS", "< + go"],
  "another code": ["< 230 hi", "> AUTH TLS", "< 234 go"],
  "a server that switches without being asked": ["< 220 hi", "> EHLO a", "< 250 ok", "< 220 go"],
  "XMPP's server that does": ["> <stream:stream>", "< <stream:stream><proceed/>"],
  "a refused chunk": ["< 220 hi", "> EHLO a", "< 250 ok", "> BDAT 99999", "< 502 no", "> STARTTLS", "< 220 go"],
  "a client that is logged in": ["< * OK hi", "> a LOGIN b c", "< a OK", "> b STARTTLS", "< b OK"],
  "nothing but the server's bytes": ["< hello"],
};
for (const [what, lines] of Object.entries(ODD)) {
  test(`A ClientHello is found after ${what}`, () => {
    const progress = say(open(), [...lines, client(HELLO)]);
    assert.partialDeepStrictEqual(progress, { kind: "tls", at: 0, found: { side: "client", hello: "client" } });
  });
}

test("A ClientHello is found right behind other bytes of the client, however it is cut", () => {
  const bytes = Buffer.concat([Buffer.from("SECURE ME\r\n"), HELLO]);
  for (let cut = 1; cut < 40; cut++) {
    const search = open();
    say(search, ["< HOLA 1"]);
    let passed = 0;
    let given = cut;
    let progress: SearchProgress;
    for (;;) {
      progress = search.feed("client", bytes.subarray(passed, given), true);
      passed += progress.at;
      if (progress.kind === "tls" || given === bytes.length) break;
      given = Math.min(bytes.length, given + cut);
    }
    assert.deepEqual([progress.kind, passed], ["tls", 11], `in pieces of ${cut}`);
  }
});

test("A client that begins TLS before the server has agreed breaks a known dialogue", () => {
  const asked: readonly Line[] = ["< 220 hi", "> EHLO a", "< 250 STARTTLS"];
  assert.throws(() => say(open(), [...asked, client("STARTTLS\r\n", HELLO)]), { name: "PeerError", side: "client" });
});

test("A recorded hello in a mail is a part of the mail", () => {
  const search = open();
  const sent = say(search, [
    "< 220 hi",
    "> EHLO a",
    "< 250 CHUNKING",
    client("BDAT 5000\r\nSubject: x\r\n\r\n", HELLO),
  ]);
  assert.equal(sent.kind, "more");
});

test("A ServerHello whose ClientHello was not found, and a server's ClientHello, are told", () => {
  assert.partialDeepStrictEqual(say(open(), ["< HOLA", "> x", ["server", SERVER_HELLO]]), {
    ...{ kind: "tls", found: { side: "server", hello: "server" } },
  });
  assert.partialDeepStrictEqual(say(open(), ["> HOLA", "< x", ["server", HELLO]]), {
    ...{ kind: "tls", found: { side: "server", hello: "client" } },
  });
});

test("A beginning that had to pass is remembered, and told when it turns out to be one", () => {
  const search = open();
  say(search, ["< HOLA 1"]);
  assert.deepEqual(search.feed("client", HELLO.subarray(0, 2), true), { kind: "more", at: 0, telling: false });
  assert.equal(search.feed("client", HELLO.subarray(0, 2), false).at, 2);
  assert.deepEqual(search.feed("client", HELLO.subarray(2, 5), true), { kind: "more", at: 0, telling: true });
  const progress = search.feed("client", HELLO.subarray(2), true);
  assert.partialDeepStrictEqual(progress, { kind: "tls", at: 0, found: { begun: HELLO.subarray(0, 2) } });
});

test("What is not on the way to TLS does not pass when it may not", () => {
  const before: readonly Line[] = ["< 220 hi", "> EHLO a", "< 250 STARTTLS"];
  assert.equal(say(open(true), [...before, "> STARTTLS", "< 220 go"]).kind, "upgrade");
  const [, mail] = sayOf("> MAIL FROM:<a@b.test>");
  const search = open(true);
  say(search, before);
  assert.deepEqual(search.feed("client", mail, true), { kind: "plain", at: 0 });
  assert.deepEqual(open(true).feed("server", Buffer.from("HOLA\r\n"), true), { kind: "plain", at: 0 });
});
