import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openLineDialogue } from "./line-dialogue.ts";
import { MANAGESIEVE } from "./managesieve.ts";

const open = () => openLineDialogue(MANAGESIEVE);
const GREETED: Transcript = ['< "IMPLEMENTATION" "Pigeonhole"', '< "SIEVE" "fileinto"', '< "STARTTLS"', '< OK "ready"'];
const UPGRADED: Transcript = [...GREETED, "> STARTTLS", '< OK "begin"'];

test("ManageSieve upgrades with the OK to STARTTLS, and greets with its offer", () => {
  assert.partialDeepStrictEqual(play(open(), UPGRADED), { kind: "upgrade", offered: true, answers: 1 });
  assert.equal(play(open(), ['< "IMPLEMENTATION" "Pigeonhole"', '< OK "ready"']).offered, false);
});

test("cutting the bytes anywhere changes nothing, and any bytes yield an answer", () => {
  assertCutAnywhere(open, UPGRADED);
  assertCutAnywhere(open, [
    ...GREETED.slice(0, 1),
    '< "OWNER" {7}',
    "< OK\r\nabc",
    ...GREETED.slice(2),
    "> STARTTLS",
    "< OK",
  ]);
  assertAnswersAnything(open, UPGRADED);
});

test("a refusal is followed on; who is logged in cannot upgrade", () => {
  assert.partialDeepStrictEqual(play(open(), [...GREETED, "> STARTTLS", "< NO"]), { kind: "more", refused: true });
  assert.equal(play(open(), [...GREETED, '> AUTHENTICATE "PLAIN" {8+}', "> AGEAYg==", "< OK"]).kind, "no");
});

test("bytes behind the request or the agreement are attacks", () => {
  assert.equal(play(open(), [...GREETED, "> STARTTLS", "> NOOP"]).kind, "broken");
  assert.equal(play(open(), [...GREETED, "> STARTTLS", ["server", Buffer.from("OK\r\nOK\r\n")]]).kind, "broken");
});
