import assert from "node:assert/strict";
import { test } from "node:test";
import type { Side } from "../../vocabulary.ts";
import { asksProxy, openDialogue, openWatch } from "./dialogues.ts";

function say(watch: ReturnType<typeof openWatch>, lines: readonly string[]) {
  let last = watch.feed("client", Buffer.alloc(0));
  for (const line of lines) {
    const side: Side = line.startsWith(">") ? "client" : "server";
    last = watch.feed(side, Buffer.from(`${line.slice(2)}\r\n`));
  }
  return last;
}

const DIALOGUES: readonly (readonly [protocol: string, lines: readonly string[]])[] = [
  ["SMTP", ["< 220 hi", "> STARTTLS", "< 220 go"]],
  ["FTP", ["< 220 hi", "> AUTH TLS", "< 234 go"]],
  ["IMAP", ["< * OK hi", "> a STARTTLS", "< a OK"]],
  ["POP3", ["< +OK hi", "> STLS", "< +OK"]],
  ["NNTP", ["< 200 hi", "> STARTTLS", "< 382 go"]],
  ["ManageSieve", ['< "STARTTLS"', "< OK", "> STARTTLS", "< OK"]],
  ["CONNECT", ["> CONNECT a.example:443 HTTP/1.1", "> ", "< HTTP/1.1 200 OK", "< "]],
];
for (const [protocol, lines] of DIALOGUES) {
  test(`${protocol} is told from all others and can be repeated`, () => {
    const watch = openWatch({ startTls: true });
    assert.partialDeepStrictEqual(say(watch, lines), { kind: "upgrade", agreement: { protocol } });
    assert.equal(watch.spoken?.protocol, protocol);
    assert.equal(openDialogue(protocol)?.protocol, protocol);
  });
}

test("A mail is never taken for an FTP session, nor an FTP session for mail", () => {
  const body = Array.from({ length: 20_000 }, () => "> a line of text\x00");
  const mail = ["< 220 hi", "> EHLO a", "< 250 ok", "> DATA", "< 354 go", ...body, `> ${"x".repeat(20_000)}`, "> ."];
  const smtp = openWatch({ startTls: true });
  assert.equal(say(smtp, [...mail, "< 250 queued", "> STARTTLS", "< 220 go"]).kind, "upgrade");
  const ftp = openWatch({ startTls: true });
  const session = ["< 220 hi", "> USER me", "< 331 more", "> STARTTLS", "< 500 what", "> BDAT 999999", "< 500 what"];
  assert.equal(say(ftp, [...session, "> AUTH TLS", "< 234 go"]).kind, "upgrade");
  const confused = openWatch({ startTls: true });
  assert.equal(say(confused, ["< 220 hi", "> USER me", "< 500 what", "> STARTTLS", "< 220 go"]).kind, "upgrade");
});

test("Where STARTTLS is not watched, only CONNECT is", () => {
  assert.equal(say(openWatch({ startTls: false }), ["< 220 hi"]).kind, "no");
  assert.equal(say(openWatch({ startTls: false }), DIALOGUES.at(-1)![1]).kind, "upgrade");
});

test("Another protocol ends the watch", () => {
  assert.equal(say(openWatch({ startTls: true }), ["< SSH-2.0-example"]).kind, "no");
  assert.equal(openDialogue("Gopher"), undefined);
});

test("A request to a proxy is recognised by its first bytes, however they are cut", () => {
  for (const request of ["CONNECT a.example:443 HTTP/1.1", "GET http://a.example/ HTTP/1.1"]) {
    const answers = [...request].map((_, index) => asksProxy(Buffer.from(request.slice(0, index + 1))));
    const known = answers.indexOf(true);
    assert.ok(known > 0);
    assert.ok(answers.slice(0, known).every((answer) => answer === "more"));
  }
  for (const odd of ["\r\n\r\nCONNECT a.example:443", "connect\ta.example:443", " CONNECT a.example:443"]) {
    const answers = [...odd].map((_, index) => asksProxy(Buffer.from(odd.slice(0, index + 1))));
    assert.equal(answers.at(-1), true, odd);
    assert.ok(!answers.includes(false), odd);
  }
  for (const other of ["GET / HTTP/1.1", "get http://", "\x16\x03", "A1 LOGIN", "PRI * HTTP/2.0"]) {
    assert.equal(asksProxy(Buffer.from(other)), false, other);
  }
});
