import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openLineDialogue } from "./line-dialogue.ts";
import { POP3 } from "./pop3.ts";

const open = () => openLineDialogue(POP3);
const CAPA: Transcript = ["> CAPA", "< +OK", "< UIDL", "< STLS", "< ."];
const UPGRADED: Transcript = ["< +OK ready", ...CAPA, "> STLS", "< +OK begin TLS"];

test("POP3 upgrades at the +OK to STLS, and no other", () => {
  assert.partialDeepStrictEqual(play(open(), UPGRADED), { kind: "upgrade", offered: true, answers: 2 });
  const inOneSegment: Transcript = [
    "< +OK ready",
    ["client", Buffer.from("CAPA\r\nSTLS\r\n")],
    "< +OK",
    "< STLS",
    "< .",
  ];
  assert.equal(play(open(), inOneSegment).kind, "more");
  assert.equal(play(open(), [...inOneSegment, "< +OK begin TLS"]).kind, "upgrade");
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(open, UPGRADED);
  assertAnswersAnything(open, UPGRADED);
});

test("The dialogue goes on after a refusal; a client that is logged in cannot upgrade, one whose login failed can", () => {
  assert.partialDeepStrictEqual(play(open(), ["< +OK", "> STLS", "< -ERR no"]), { kind: "more", refused: true });
  assert.equal(play(open(), ["< +OK", "> USER me", "< +OK", "> PASS x", "< +OK welcome"]).kind, "no");
  const failed: Transcript = ["< +OK", "> USER me", "< +OK", "> PASS x", "< -ERR no", "> STLS", "< +OK"];
  assert.equal(play(open(), failed).kind, "upgrade");
});

test("Bytes after the request or the agreement are errors", () => {
  assert.equal(play(open(), ["< +OK", "> STLS", "> CAPA"]).kind, "broken");
  assert.equal(play(open(), ["< +OK", "> STLS", ["server", Buffer.from("+OK\r\n+OK\r\n")]]).kind, "broken");
});
