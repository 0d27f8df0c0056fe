import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openLineDialogue } from "./line-dialogue.ts";
import { MANAGESIEVE } from "./managesieve.ts";

const open = () => openLineDialogue(MANAGESIEVE);
const GREETED: Transcript = ['< "IMPLEMENTATION" "Pigeonhole"', '< "SIEVE" "fileinto"', '< "STARTTLS"', '< OK "ready"'];
const UPGRADED: Transcript = [...GREETED, "> STARTTLS", '< OK "begin"'];

test("ManageSieve upgrades at the OK to STARTTLS, and its greeting offers TLS", () => {
  assert.partialDeepStrictEqual(play(open(), UPGRADED), { kind: "upgrade", offered: true, answers: 1 });
  assert.equal(play(open(), ['< "IMPLEMENTATION" "Pigeonhole"', '< OK "ready"']).offered, false);
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
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

test("The dialogue goes on after a refusal; a client that is logged in cannot upgrade", () => {
  assert.partialDeepStrictEqual(play(open(), [...GREETED, "> STARTTLS", "< NO"]), { kind: "more", refused: true });
  assert.equal(play(open(), [...GREETED, '> AUTHENTICATE "PLAIN" {8+}', "> AGEAYg==", "< OK"]).kind, "no");
});

test("Bytes after the request or the agreement are errors", () => {
  assert.equal(play(open(), [...GREETED, "> STARTTLS", "> NOOP"]).kind, "broken");
  assert.equal(play(open(), [...GREETED, "> STARTTLS", ["server", Buffer.from("OK\r\nOK\r\n")]]).kind, "broken");
});
