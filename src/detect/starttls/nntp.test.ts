import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openLineDialogue } from "./line-dialogue.ts";
import { NNTP } from "./nntp.ts";

const open = () => openLineDialogue(NNTP);
const CAPABILITIES: Transcript = ["> CAPABILITIES", "< 101 list", "< VERSION 2", "< STARTTLS", "< ."];
const UPGRADED: Transcript = ["< 200 news", ...CAPABILITIES, "> STARTTLS", "< 382 go on"];
const ARTICLE: Transcript = ["> ARTICLE 1", "< 220 1 <a@b>", "< 382 in the text", "< .."];

test("NNTP upgrades at the 382 to STARTTLS", () => {
  assert.partialDeepStrictEqual(play(open(), UPGRADED), { kind: "upgrade", offered: true, answers: 2 });
});

test("Articles that are read, posted or streamed are not taken for commands and answers", () => {
  const read: Transcript = ["< 200 news", ...ARTICLE, ...Array.from({ length: 9000 }, () => "< a long text"), "< ."];
  assert.equal(play(open(), [...read, "> STARTTLS", "< 382 go on"]).kind, "upgrade");
  const posted: Transcript = ["< 200 news", "> POST", "< 340 go on", "> STARTTLS", "> .", "< 240 thanks"];
  assert.equal(play(open(), [...posted, "> STARTTLS", "< 382 go on"]).kind, "upgrade");
  const streamed: Transcript = ["< 200 news", "> TAKETHIS <a@b>", "> STARTTLS", "> .", "< 239 <a@b>"];
  assert.equal(play(open(), [...streamed, "> STARTTLS", "< 382 go on"]).kind, "upgrade");
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(open, UPGRADED);
  assertCutAnywhere(open, ["< 200 news", ...ARTICLE, "< .", "> STARTTLS", "< 382 go on"]);
  assertAnswersAnything(open, [...UPGRADED, ...ARTICLE]);
});

test("The dialogue goes on after a refusal; a client that is logged in cannot upgrade", () => {
  assert.partialDeepStrictEqual(play(open(), ["< 200 news", "> STARTTLS", "< 580 no"]), {
    kind: "more",
    refused: true,
  });
  const login: Transcript = ["> AUTHINFO USER me", "< 381 more", "> AUTHINFO PASS x", "< 281 welcome"];
  assert.equal(play(open(), ["< 200 news", ...login]).kind, "no");
  const pretended: Transcript = ["< 200 news", "> DATE", "< 281 welcome", "> STARTTLS", "< 382 go on"];
  assert.equal(play(open(), pretended).kind, "upgrade");
});

test("Bytes after the request or the agreement are errors", () => {
  assert.equal(play(open(), ["< 200 news", "> STARTTLS", "> DATE"]).kind, "broken");
  assert.equal(play(open(), ["< 200 news", "> STARTTLS", ["server", Buffer.from("382 go\r\n.\r\n")]]).kind, "broken");
});
