import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openPostgresql } from "./postgresql.ts";

const SSL: Transcript[number] = ["client", Buffer.from("0000000804d2162f", "hex")];
const GSS: Transcript[number] = ["client", Buffer.from("0000000804d21630", "hex")];
const STARTUP: Transcript[number] = ["client", Buffer.from("0000000b00030000757365", "hex")];
const server = (text: string): Transcript[number] => ["server", Buffer.from(text)];

test("PostgreSQL upgrades at the S to SSLRequest, also after GSSAPI was declined", () => {
  assert.partialDeepStrictEqual(play(openPostgresql(), [SSL, server("S")]), { kind: "upgrade", at: 9, offered: true });
  const outcome = play(openPostgresql(), [GSS, server("N"), SSL, server("S")]);
  assert.equal(outcome.kind, "upgrade");
  assert.deepEqual(
    outcome.agreement?.script?.map(({ after }) => after),
    [0, 1],
  );
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(openPostgresql, [GSS, server("N"), SSL, server("S")]);
  assertCutAnywhere(openPostgresql, [SSL, server("N"), STARTUP]);
  assertAnswersAnything(openPostgresql, [GSS, SSL, server("N"), server("S"), STARTUP]);
});

test("After a declined request the dialogue goes on until the client continues without TLS", () => {
  assert.partialDeepStrictEqual(play(openPostgresql(), [SSL, server("N")]), { kind: "more", refused: true });
  assert.equal(play(openPostgresql(), [SSL, server("N"), STARTUP]).kind, "no");
  assert.equal(play(openPostgresql(), [STARTUP]).kind, "no");
});

test("GSSAPI encryption, an error and a server that speaks first end the dialogue", () => {
  assert.equal(play(openPostgresql(), [GSS, server("G")]).kind, "no");
  assert.equal(play(openPostgresql(), [SSL, server("E")]).kind, "no");
  assert.equal(play(openPostgresql(), [server("S")]).kind, "no");
});

test("Bytes after the request or the answer are errors", () => {
  assert.partialDeepStrictEqual(play(openPostgresql(), [SSL, STARTUP]), { kind: "broken", side: "client" });
  assert.partialDeepStrictEqual(play(openPostgresql(), [SSL, server("Sx")]), { kind: "broken", side: "server" });
  assert.partialDeepStrictEqual(play(openPostgresql(), [SSL, server("NR")]), { kind: "broken", side: "server" });
});
