import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openMysql } from "./mysql.ts";

const CLIENT_SSL = 0x0800;

function packet(number: number, payload: Buffer): Buffer {
  const header = Buffer.from([payload.length & 255, payload.length >> 8, 0, number]);
  return Buffer.concat([header, payload]);
}

function greeting(capabilities: number): Buffer {
  const low = Buffer.from([capabilities & 255, capabilities >> 8]);
  const version = Buffer.from("\n10.11.19-MariaDB\0", "latin1");
  return packet(
    0,
    Buffer.concat([version, Buffer.alloc(4, 1), Buffer.alloc(8, 2), Buffer.alloc(1), low, Buffer.alloc(20)]),
  );
}

function answer(capabilities: number, length: number): Buffer {
  const payload = Buffer.alloc(length);
  payload.writeUInt16LE(capabilities);
  return packet(1, payload);
}

const OFFER: Transcript[number] = ["server", greeting(0xf7ff | CLIENT_SSL)];
const REQUEST = answer(CLIENT_SSL, 32);
const UPGRADED: Transcript = [OFFER, ["client", Buffer.concat([REQUEST, Buffer.from("160301", "hex")])]];

test("MySQL upgrades at the client's SSLRequest; its ClientHello may follow in the same segment", () => {
  const outcome = play(openMysql(), UPGRADED);
  assert.partialDeepStrictEqual(outcome, { kind: "upgrade", at: OFFER[1]!.length + 36, offered: true, answers: 1 });
  assert.deepEqual(outcome.agreement?.script, [{ after: 1, bytes: REQUEST }]);
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(openMysql, UPGRADED);
  assertCutAnywhere(openMysql, [OFFER, ["client", answer(0, 60)]]);
  assertAnswersAnything(openMysql, UPGRADED);
});

test("A client that does not ask for TLS and a server that does not offer it stay in plaintext", () => {
  assert.equal(play(openMysql(), [OFFER, ["client", answer(0, 60)]]).kind, "no");
  assert.equal(play(openMysql(), [OFFER, ["client", answer(CLIENT_SSL, 31)]]).kind, "no");
  assert.partialDeepStrictEqual(play(openMysql(), [["server", greeting(0)]]), { kind: "no", offered: false });
});

test("A longer SSLRequest, and a greeting above 4 KiB, are as good", () => {
  for (const length of [33, 64, 200]) {
    const longer: Transcript = [OFFER, ["client", Buffer.concat([answer(CLIENT_SSL, length), Buffer.of(22)])]];
    assert.partialDeepStrictEqual(play(openMysql(), longer), { kind: "upgrade", at: OFFER[1]!.length + 4 + length });
    assertCutAnywhere(openMysql, longer);
  }
  const long = greeting(0xf7ff | CLIENT_SSL);
  const padded = packet(0, Buffer.concat([long.subarray(4), Buffer.alloc(5_000)]));
  assert.equal(
    play(openMysql(), [
      ["server", padded],
      ["client", REQUEST],
    ]).kind,
    "upgrade",
  );
});

test("An error instead of a greeting, an older protocol and other binary data are not MySQL", () => {
  assert.equal(
    play(openMysql(), [["server", packet(0, Buffer.from("\xff\x10\x04Too many connections", "latin1"))]]).kind,
    "no",
  );
  assert.equal(play(openMysql(), [["server", Buffer.from("220 mail.example\r\n")]]).kind, "no");
  assert.equal(play(openMysql(), [["client", REQUEST]]).kind, "no");
});

test("Bytes after the server's greeting are an error", () => {
  const more: Transcript = [["server", Buffer.concat([greeting(CLIENT_SSL), Buffer.from("x")])]];
  assert.partialDeepStrictEqual(play(openMysql(), more), { kind: "broken", side: "server" });
});
