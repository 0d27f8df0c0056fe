import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openLdap } from "./ldap.ts";

function ber(tag: number, ...contents: Buffer[]): Buffer {
  const body = Buffer.concat(contents);
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const integer = (value: number, tag = 0x02) => ber(tag, Buffer.from([value]));
const octets = (text: string, tag = 0x04) => ber(tag, Buffer.from(text));
const client = (id: number, operation: Buffer): Transcript[number] => ["client", ber(0x30, integer(id), operation)];
const server = (id: number, operation: Buffer): Transcript[number] => ["server", ber(0x30, integer(id), operation)];
const result = (tag: number, code: number) => ber(tag, integer(code, 0x0a), octets(""), octets(""));

const START = ber(0x77, octets("1.3.6.1.4.1.1466.20037", 0x80));
const ASKED = client(2, START);
const AGREED = server(2, result(0x78, 0));
const SEARCH: Transcript = [
  client(1, ber(0x63, octets(""), octets("objectClass", 0x87))),
  server(1, ber(0x64, octets("dc=example"), octets("x".repeat(3000)))),
  server(1, result(0x65, 0)),
];

test("LDAP upgrades at the success of StartTLS, also after a search", () => {
  const outcome = play(openLdap(), [...SEARCH, ASKED, AGREED]);
  assert.partialDeepStrictEqual(outcome, { kind: "upgrade", offered: true, answers: 2 });
  assert.equal(outcome.agreement?.script?.length, 2);
  assert.equal(play(openLdap(), [ASKED, AGREED]).kind, "upgrade");
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(openLdap, [...SEARCH, ASKED, AGREED]);
  assertAnswersAnything(openLdap, [...SEARCH, ASKED, AGREED]);
});

test("Lengths may be longer than they need be", () => {
  const long = (size: number, [tag, , ...body]: Buffer) =>
    Buffer.from([tag!, 0x80 | size, ...Array.from({ length: size - 1 }, () => 0), body.length, ...body]);
  for (const size of [1, 4, 5, 8]) {
    const asked: Transcript[number] = ["client", long(size, ASKED[1] as Buffer)];
    assert.equal(play(openLdap(), [asked, AGREED]).kind, "upgrade", `${size}`);
    assertCutAnywhere(openLdap, [asked, AGREED]);
  }
  assert.equal(play(openLdap(), [["client", long(9, ASKED[1] as Buffer)]]).kind, "no");
  assert.equal(play(openLdap(), [["client", Buffer.from("3088ffffffffffffffff", "hex")]]).kind, "no");
});

test("The dialogue goes on after a refusal and after a simple bind", () => {
  assert.partialDeepStrictEqual(play(openLdap(), [ASKED, server(2, result(0x78, 52))]), {
    kind: "more",
    refused: true,
  });
  const bind = client(1, ber(0x60, integer(3), octets("cn=me"), octets("secret", 0x80)));
  assert.equal(play(openLdap(), [bind, server(1, result(0x61, 0)), ASKED, AGREED]).kind, "upgrade");
});

test("A SASL bind ends the dialogue", () => {
  const bind = client(1, ber(0x60, integer(3), octets(""), ber(0xa3, octets("GSSAPI"))));
  assert.equal(play(openLdap(), [bind, server(1, result(0x61, 0))]).kind, "no");
});

test("Bytes after the request or the agreement, and malformed messages, are errors", () => {
  assert.equal(play(openLdap(), [ASKED, client(3, START)]).kind, "broken");
  const injected = Buffer.concat([AGREED[1] as Buffer, Buffer.from([0x30])]);
  assert.equal(play(openLdap(), [ASKED, ["server", injected]]).kind, "broken");
  assert.equal(play(openLdap(), [...SEARCH, ["client", Buffer.from("160301", "hex")]]).kind, "broken");
});

test("A client that does not begin with an LDAP message does not speak LDAP", () => {
  assert.equal(play(openLdap(), ["> EHLO example"]).kind, "no");
  assert.equal(play(openLdap(), ["< 220 mail.example"]).kind, "no");
  assert.equal(play(openLdap(), [["client", Buffer.from("3080", "hex")]]).kind, "no");
});
