import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { FTP } from "./ftp.ts";
import { openLineDialogue } from "./line-dialogue.ts";

const open = () => openLineDialogue(FTP);
const FEAT: Transcript = ["> FEAT", "< 211-Features:", "<  AUTH SSL;TLS", "<  PBSZ", "< 211 End"];
const UPGRADED: Transcript = ["< 220-welcome", "< and more", "< 220 ready", ...FEAT, "> AUTH TLS", "< 234 go on"];

test("FTP upgrades at the 234 to AUTH TLS or AUTH SSL", () => {
  assert.partialDeepStrictEqual(play(open(), UPGRADED), { kind: "upgrade", offered: true, answers: 2 });
  assert.equal(play(open(), ["< 220 ready", "> auth ssl", "< 234 go on"]).kind, "upgrade");
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(open, UPGRADED);
  assertAnswersAnything(open, UPGRADED);
});

test("The dialogue follows a whole session before the request", () => {
  const session: Transcript = [
    "> USER anonymous",
    "< 331 password",
    "> PASS x",
    "< 230 welcome",
    "> RETR file",
    "< 150 here it comes",
    "< 226 done",
  ];
  const outcome = play(open(), ["< 220 ready", ...session, "> AUTH TLS", "< 234 go on"]);
  assert.equal(outcome.kind, "upgrade");
  assert.equal(outcome.agreement?.script, undefined);
});

test("The dialogue goes on after another security mechanism and after a refusal", () => {
  assert.partialDeepStrictEqual(play(open(), ["< 220 ready", "> AUTH GSSAPI", "< 334 go on"]), { kind: "more" });
  assert.partialDeepStrictEqual(play(open(), ["< 220 ready", "> AUTH TLS", "< 534 no"]), {
    kind: "more",
    refused: true,
  });
});

test("Bytes after the request or the agreement are errors; an agreement to something else is not understood", () => {
  assert.equal(play(open(), ["< 220 ready", "> AUTH TLS", "> PBSZ 0"]).kind, "broken");
  assert.equal(
    play(open(), ["< 220 ready", "> AUTH TLS", ["server", Buffer.from("234 go\r\n230 in\r\n")]]).kind,
    "broken",
  );
  assert.equal(play(open(), ["< 220 ready", "> NOOP", "< 234 go on"]).kind, "no");
});
