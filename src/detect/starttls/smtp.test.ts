import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openLineDialogue } from "./line-dialogue.ts";
import { SMTP } from "./smtp.ts";

const open = () => openLineDialogue(SMTP);
const GREETED: Transcript = [
  "< 220 mail.example ESMTP",
  "> EHLO client.example",
  "< 250-mail.example",
  "< 250-STARTTLS",
  "< 250 8BITMIME",
];
const UPGRADED: Transcript = [...GREETED, "> STARTTLS", "< 220 2.0.0 Ready to start TLS"];
const MAIL: Transcript = [
  "> MAIL FROM:<a@example>",
  "< 250 ok",
  "> RCPT TO:<b@example>",
  "< 250 ok",
  "> DATA",
  "< 354 go on",
  "> Subject: x",
  "> ",
  "> STARTTLS",
  "> ..",
  "> .",
  "< 250 queued",
];

test("SMTP upgrades at the last byte of the server's agreement", () => {
  const outcome = play(open(), UPGRADED);
  const length = UPGRADED.reduce((sum, line) => sum + line.length, 0);
  assert.partialDeepStrictEqual(outcome, { kind: "upgrade", at: length, offered: true, answers: 2 });
  assert.equal(outcome.agreement?.next, "tls");
});

test("The script repeats the client's bytes in their places", () => {
  assert.deepEqual(play(open(), UPGRADED).agreement?.script, [
    { after: 1, bytes: Buffer.from("EHLO client.example\r\n") },
    { after: 2, bytes: Buffer.from("STARTTLS\r\n") },
  ]);
});

test("Cutting the bytes anywhere changes nothing", () => {
  assertCutAnywhere(open, UPGRADED);
  assertCutAnywhere(open, [...GREETED, ...MAIL, "> STARTTLS", "< 220 go"]);
  assertCutAnywhere(open, [...GREETED, "> STARTTLS", "> EHLO evil", "< 220 go"]);
});

test("Any bytes give an answer", () => assertAnswersAnything(open, [...UPGRADED, ...MAIL]));

test("After a refusal the client may ask again", () => {
  const refused: Transcript = [...GREETED, "> STARTTLS", "< 454 4.7.0 TLS not available"];
  assert.partialDeepStrictEqual(play(open(), [...refused, ...MAIL]), { kind: "more", refused: true });
  assert.equal(play(open(), [...refused, "> STARTTLS", "< 220 go"]).kind, "upgrade");
});

test("A text is not read as commands, and a session that sent mail has no script", () => {
  const outcome = play(open(), [...GREETED, ...MAIL, "> STARTTLS", "< 220 go"]);
  assert.equal(outcome.kind, "upgrade");
  assert.equal(outcome.agreement?.script, undefined);
});

test("BDAT's bytes are not read as commands", () => {
  const chunk: Transcript = ["> BDAT 10 LAST", ["client", Buffer.from("STARTTLS\r\n")], "< 250 ok"];
  assert.equal(play(open(), [...GREETED, ...chunk]).kind, "more");
  assert.equal(play(open(), [...GREETED, ...chunk, "> STARTTLS", "< 220 go"]).kind, "upgrade");
});

test("Bytes of the client after STARTTLS are an error, in the same segment and later", () => {
  const wanted = {
    kind: "broken",
    side: "client",
    message: "The client sent more after its request for TLS",
  } as const;
  const together: Transcript = [["client", Buffer.from("STARTTLS\r\nEHLO evil\r\n")]];
  assert.partialDeepStrictEqual(play(open(), [...GREETED, ...together]), wanted);
  assert.partialDeepStrictEqual(play(open(), [...GREETED, "> STARTTLS", "> EHLO evil"]), wanted);
});

test("Bytes of the server after its agreement are an error", () => {
  const agreement: Transcript = [["server", Buffer.from("220 go\r\n250 injected\r\n")]];
  assert.partialDeepStrictEqual(play(open(), [...GREETED, "> STARTTLS", ...agreement]), {
    kind: "broken",
    side: "server",
  });
});

test("A server that agrees without being asked is no longer understood", () => {
  const hidden: Transcript = ["> BDAT 9999", "< 502 no chunking here", "> STARTTLS", "< 220 go"];
  assert.partialDeepStrictEqual(play(open(), [...GREETED, ...hidden]), { kind: "no" });
});

test("A server's answer within a text ends the text", () => {
  const cut: Transcript = ["> DATA", "< 354 go on", ["client", Buffer.from("x\n.\n")], "< 250 queued"];
  assert.equal(play(open(), [...GREETED, ...cut, "> STARTTLS", "< 220 go"]).kind, "upgrade");
  const unseen: Transcript = ["> DATA", "< 354 go on", "> x", "< 451 enough"];
  assert.equal(play(open(), [...GREETED, ...unseen, "> STARTTLS", "< 220 go"]).kind, "upgrade");
});

test("A client's error before the greeting counts once the server has greeted", () => {
  const early: Transcript = ["> EHLO a", "< 220 hi", "< 250 STARTTLS", "> STARTTLS", "< 220 go"];
  assert.equal(play(open(), early).kind, "upgrade");
  const spoilt: Transcript = [["client", Buffer.from([0, 1, 2, 10])], "< 220 hi"];
  assert.equal(play(open(), spoilt).kind, "broken");
});

test("Capabilities tell whether the server offers TLS", () => {
  const without: Transcript = ["< 220 hi", "> EHLO a", "< 250-mail", "< 250 8BITMIME"];
  assert.equal(play(open(), without).offered, false);
  assert.equal(play(open(), GREETED).offered, true);
  assert.equal(play(open(), ["< 220 hi", "> HELO a", "< 250 mail"]).offered, undefined);
});

test("Lines, answers and the number of open commands are bounded", () => {
  const endless = (side: "client" | "server", bytes: string, times: number): Transcript =>
    Array.from({ length: times }, () => [side, Buffer.from(bytes)] as const);
  assert.equal(play(open(), [...GREETED, ...endless("client", "x".repeat(1000), 20)]).kind, "broken");
  assert.equal(play(open(), [...GREETED, ...endless("server", "250-x\r\n", 20_000)]).kind, "broken");
  assert.equal(play(open(), ["< 220-hi", ...endless("server", "220-and on\r\n", 10_000)]).kind, "broken");
  assert.equal(play(open(), endless("server", "x".repeat(1000), 20)).kind, "no");
  assert.equal(play(open(), [...GREETED, ...endless("client", "NOOP\r\n", 11_000)]).kind, "broken");
});

test("TLS and other binary data within the dialogue are errors", () => {
  const hello: Transcript = [["client", Buffer.from("16030100050100000a0a", "hex")]];
  assert.equal(play(open(), [...GREETED, ...hello]).kind, "broken");
});

test("A server that does not greet like SMTP does not speak SMTP", () => {
  for (const greeting of ["< 554 no service", "< +OK", "< SSH-2.0-x", "< "]) {
    assert.equal(play(open(), [greeting]).kind, "no");
  }
});
