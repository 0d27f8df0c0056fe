import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { IMAP } from "./imap.ts";
import { openLineDialogue } from "./line-dialogue.ts";

const open = () => openLineDialogue(IMAP);
const GREETED: Transcript = ["< * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready"];
const ASKED: Transcript = [
  ...GREETED,
  "> a1 CAPABILITY",
  "< * CAPABILITY IMAP4rev1 STARTTLS",
  "< a1 OK done",
  "> a2 STARTTLS",
];
const UPGRADED: Transcript = [...ASKED, "< a2 OK begin TLS"];

test("IMAP upgrades at the tagged OK", () => {
  const outcome = play(open(), UPGRADED);
  assert.partialDeepStrictEqual(outcome, { kind: "upgrade", offered: true, answers: 2 });
  assert.deepEqual(
    outcome.agreement?.script?.map(({ after }) => after),
    [1, 2],
  );
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(open, UPGRADED);
  assertCutAnywhere(open, [...GREETED, "> a ID ({4}", "< + go on", '> abcd "x")', "< a OK", ...ASKED.slice(1)]);
  assertAnswersAnything(open, UPGRADED);
});

test("The greeting can offer TLS", () => {
  assert.equal(play(open(), GREETED).offered, true);
  assert.equal(play(open(), ["< * OK ready"]).offered, undefined);
  assert.equal(play(open(), ["< * OK ready", "> a CAPABILITY", "< * CAPABILITY IMAP4rev1", "< a OK"]).offered, false);
});

test("The dialogue goes on after a refused upgrade", () => {
  const refused: Transcript = [...ASKED, "< a2 BAD not now"];
  assert.partialDeepStrictEqual(play(open(), refused), { kind: "more", refused: true });
  assert.equal(play(open(), [...refused, "> a3 STARTTLS", "< a3 OK"]).kind, "upgrade");
});

test("A client that is logged in cannot upgrade, one whose login failed can", () => {
  assert.equal(play(open(), ["< * PREAUTH welcome"]).kind, "no");
  assert.equal(play(open(), [...GREETED, "> a LOGIN me secret", "< a OK welcome"]).kind, "no");
  const failed: Transcript = [...GREETED, "> a LOGIN me secret", "< a NO [PRIVACYREQUIRED]", "> b STARTTLS", "< b OK"];
  assert.equal(play(open(), failed).kind, "upgrade");
  assert.equal(play(open(), failed).agreement?.script, undefined);
  const sasl: Transcript = ["> a AUTHENTICATE PLAIN", "< + ", "> AGEAYg==", "< a OK"];
  assert.equal(play(open(), [...GREETED, ...sasl]).kind, "no");
});

test("A literal is not read as a command, unless the server refuses it", () => {
  const literal: Transcript = [
    "> a LOGIN {12}",
    "< + go on",
    ["client", Buffer.from("b STARTTLS\r\n {1}\r\n")],
    "< + go on",
  ];
  assert.equal(play(open(), [...GREETED, ...literal]).kind, "more");
  const unwanted: Transcript = ["> a LOGIN {12}", "< a BAD no", "> b STARTTLS", "< b OK"];
  assert.equal(play(open(), [...GREETED, ...unwanted]).kind, "upgrade");
  const atOnce: Transcript = [["client", Buffer.from("a ID ({12+}\r\nb STARTTLS\r\n)\r\n")], "< a OK"];
  assert.equal(play(open(), [...GREETED, ...atOnce, "> b STARTTLS", "< b OK"]).kind, "upgrade");
});

test("Bytes after the request or the agreement, and an answer without a command, are errors", () => {
  assert.partialDeepStrictEqual(play(open(), [...ASKED, "> a3 NOOP"]), { kind: "broken", side: "client" });
  const injected: Transcript = [["server", Buffer.from("a2 OK\r\n* PREAUTH\r\n")]];
  assert.partialDeepStrictEqual(play(open(), [...ASKED, ...injected]), { kind: "broken", side: "server" });
  assert.partialDeepStrictEqual(play(open(), [...GREETED, "< z OK"]), { kind: "broken", side: "server" });
});
