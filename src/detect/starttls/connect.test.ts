import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openConnect } from "./connect.ts";

const CONNECT: Transcript = ["> CONNECT www.example.com:443 HTTP/1.1", "> Host: www.example.com:443", "> "];
const ESTABLISHED: Transcript = ["< HTTP/1.1 200 Connection established", "< "];
const DENIED: Transcript = [
  "< HTTP/1.1 407 Denied",
  "< Content-Length: 12",
  "< ",
  ["server", Buffer.from("HTTP/1.1 200")],
];
const GET: Transcript = ["> GET http://www.example.com/ HTTP/1.1", "> Host: www.example.com", "> "];
const PAGE: Transcript = ["< HTTP/1.1 200 OK", "< Content-Length: 2", "< ", ["server", Buffer.from("hi")]];
const CHUNKED: Transcript = ["> POST http://a.example/ HTTP/1.1", "> Host: a", "> Transfer-Encoding: chunked", "> "];

test("CONNECT upgrades at the end of a 2xx answer's head", () => {
  const outcome = play(openConnect(), [...CONNECT, ...ESTABLISHED]);
  assert.partialDeepStrictEqual(outcome, { kind: "upgrade", answers: 1 });
  assert.partialDeepStrictEqual(outcome.agreement, {
    next: "anything",
    target: { host: "www.example.com", port: 443 },
  });
  const [step] = outcome.agreement?.script ?? [];
  assert.match(String(step?.bytes), /^CONNECT .*\r\n\r\n$/s);
});

test("Bytes of the server after its 200 belong to the tunnel", () => {
  const head = "HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
  const dialogue = openConnect();
  const before = play(dialogue, CONNECT);
  assert.equal(before.kind, "more");
  assert.partialDeepStrictEqual(dialogue.feed("server", Buffer.from(`${head}SSH-2.0`)), {
    kind: "upgrade",
    at: head.length,
  });
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(openConnect, [...GET, ...PAGE, ...CONNECT, ...DENIED, ...CONNECT, ...ESTABLISHED]);
  assertCutAnywhere(openConnect, [...CONNECT, "< HTTP/1.1 100 Wait", "< ", ...ESTABLISHED]);
  const body: Transcript = ["> 5;x", ["client", Buffer.from("CONNE\r\n")], "> 0", "> Trailer: x", "> "];
  assertCutAnywhere(openConnect, [...CHUNKED, ...body, ...PAGE, ...CONNECT, ...ESTABLISHED]);
  assertAnswersAnything(openConnect, [...GET, ...PAGE, ...CONNECT, ...ESTABLISHED]);
});

test("After a refusal a second CONNECT works, and only that one is repeated in a replay", () => {
  assert.partialDeepStrictEqual(play(openConnect(), [...CONNECT, ...DENIED]), { kind: "more", refused: true });
  const again: Transcript = ["> CONNECT www.example.com:443 HTTP/1.1", "> Proxy-Authorization: Basic eDp5", "> "];
  const outcome = play(openConnect(), [...CONNECT, ...DENIED, ...again, ...ESTABLISHED]);
  assert.equal(outcome.kind, "upgrade");
  assert.equal(outcome.agreement?.script?.length, 1);
  assert.match(String(outcome.agreement?.script?.[0]?.bytes), /Basic/);
});

test("Earlier requests are read to their ends", () => {
  assert.equal(play(openConnect(), [...GET, ...PAGE, ...CONNECT, ...ESTABLISHED]).kind, "upgrade");
  const post: Transcript = ["> POST http://a.example/ HTTP/1.1", "> Host: a", "> Content-Length: 41", "> "];
  const body: Transcript = [["client", Buffer.from("CONNECT evil.example:443 HTTP/1.1\r\nHost: x")]];
  const outcome = play(openConnect(), [...post, ...body.slice(0, 1), ...PAGE]);
  assert.equal(outcome.kind, "more");
});

test("An upgrade to WebSocket ends the dialogue, an ignored request for one does not", () => {
  const wish: Transcript = ["> GET http://a.example/ HTTP/1.1", "> Upgrade: websocket", "> Connection: Upgrade", "> "];
  assert.equal(play(openConnect(), [...wish, "< HTTP/1.1 101 Switching Protocols", "< "]).kind, "no");
  assert.equal(play(openConnect(), [...wish, ...PAGE, ...CONNECT, ...ESTABLISHED]).kind, "upgrade");
});

test("Bytes after CONNECT, CONNECT after an unanswered request, and malformed answers are errors", () => {
  assert.partialDeepStrictEqual(play(openConnect(), [...CONNECT, "> x"]), { kind: "broken", side: "client" });
  assert.partialDeepStrictEqual(play(openConnect(), [...GET, ...CONNECT]), { kind: "broken", side: "client" });
  for (const answer of ["< 220 mail.example", "< HTTP/2 200"]) {
    assert.partialDeepStrictEqual(play(openConnect(), [...CONNECT, answer, "< "]), { kind: "broken", side: "server" });
  }
  const endless: Transcript = Array.from(
    { length: 70 },
    () => ["server", Buffer.from(`X: ${"x".repeat(1000)}\r\n`)] as const,
  );
  assert.equal(play(openConnect(), [...CONNECT, "< HTTP/1.1 200 OK", ...endless]).kind, "broken");
});

/** As a client writes it; Squid takes all of these. */
const ODD_HEADS: Readonly<Record<string, string>> = {
  "empty lines in front": "\r\n\r\nCONNECT www.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
  "bare LF": "CONNECT www.example.com:443 HTTP/1.1\nHost: x\n\n",
  "two spaces": "CONNECT  www.example.com:443  HTTP/1.1\r\n\r\n",
  "a tab": "CONNECT\twww.example.com:443\tHTTP/1.1\r\n\r\n",
  "a folded field": "CONNECT www.example.com:443 HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
  "lower case": "connect www.example.com:443 http/1.1\r\n\r\n",
  "a trailing space": "CONNECT www.example.com:443 HTTP/1.0 \r\n\r\n",
  "a space before the colon": "CONNECT www.example.com:443 HTTP/1.1\r\nHost : x\r\n\r\n",
  "20 kB of fields": `CONNECT www.example.com:443 HTTP/1.1\r\n${"X: y\r\n".repeat(3_400)}\r\n`,
  "a body that it cannot have": "CONNECT www.example.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
  "bytes beyond ASCII": "CONNECT www.example.com:443 HTTP/1.1\r\nX: \xff\x01\r\n\r\n",
};
for (const [what, head] of Object.entries(ODD_HEADS)) {
  const asked: Transcript = [["client", Buffer.from(head, "latin1")]];
  test(`A CONNECT with ${what} is one, as proxies read it`, () => {
    const outcome = play(openConnect(), [...asked, ...ESTABLISHED]);
    assert.equal(outcome.kind, "upgrade");
    assert.partialDeepStrictEqual(outcome.agreement, { target: { host: "www.example.com", port: 443 } });
    assert.equal(outcome.agreement?.script?.[0]?.bytes.toString("latin1"), head);
    if (head.length < 200) assertCutAnywhere(openConnect, [...asked, ...ESTABLISHED]);
  });
}

test("A proxy's answer may end its lines with a bare LF", () => {
  for (const answer of ["HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\nX: y\n\r\n", "HTTP/1.0  200\n\n"]) {
    assertCutAnywhere(openConnect, [...CONNECT, ["server", Buffer.from(answer)]]);
    assert.equal(play(openConnect(), [...CONNECT, ["server", Buffer.from(answer)]]).kind, "upgrade", answer);
  }
});

test("A malformed request is an error only after a request to a proxy", () => {
  assert.equal(play(openConnect(), ["> GET / HTTP/1.1", "> ", "> nonsense"]).kind, "no");
  assert.equal(play(openConnect(), [...GET, ...PAGE, "> nonsense"]).kind, "broken");
  assert.equal(play(openConnect(), ["> EHLO example"]).kind, "no");
  assert.equal(play(openConnect(), ["< 220 mail.example"]).kind, "no");
});
