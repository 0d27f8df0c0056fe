import assert from "node:assert/strict";
import { test } from "node:test";
import { assertAnswersAnything, assertCutAnywhere, play, type Transcript } from "../../../test/transcript.ts";
import { openXmpp } from "./xmpp.ts";

const client = (text: string): Transcript[number] => ["client", Buffer.from(text)];
const server = (text: string): Transcript[number] => ["server", Buffer.from(text)];
const HEADER = "<?xml version='1.0'?><stream:stream to='a>b.example' xmlns=\"jabber:client\" version='1.0'>";
const FEATURES =
  "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
const OPENED: Transcript = [client(HEADER), server(HEADER), server(FEATURES)];
const ASKED: Transcript = [...OPENED, client("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")];
const UPGRADED: Transcript = [...ASKED, server("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")];

test("XMPP upgrades at <proceed/>", () => {
  const outcome = play(openXmpp(), UPGRADED);
  assert.partialDeepStrictEqual(outcome, { kind: "upgrade", offered: true, answers: 3 });
  assert.deepEqual(
    outcome.agreement?.script?.map(({ after }) => after),
    [0, 2],
  );
  const long: Transcript = [
    ...OPENED,
    client("<starttls xmlns='x'></starttls>"),
    server("<proceed xmlns='x'></proceed>"),
  ];
  assert.equal(play(openXmpp(), long).kind, "upgrade");
});

test("Cutting the bytes anywhere changes nothing, and any bytes give an answer", () => {
  assertCutAnywhere(openXmpp, UPGRADED);
  assertCutAnywhere(openXmpp, [...OPENED, client("<iq><![CDATA[<starttls/>]]></iq>"), server("<iq/>")]);
  assertAnswersAnything(openXmpp, UPGRADED);
});

test("A server without the feature offers no TLS, and a refusal is reported", () => {
  const without = [client(HEADER), server(HEADER), server("<stream:features><mechanisms/></stream:features>")];
  assert.equal(play(openXmpp(), without).offered, false);
  assert.partialDeepStrictEqual(play(openXmpp(), [...ASKED, server("<failure/>")]), { kind: "more", refused: true });
});

test("A <starttls/> inside another element is not a request", () => {
  const inside = client("<iq type='get'><starttls/></iq>");
  assert.partialDeepStrictEqual(play(openXmpp(), [...OPENED, inside, server("<iq/>")]), {
    kind: "more",
    refused: false,
  });
});

test("A client that is logged in cannot upgrade", () => {
  const login = [client("<auth mechanism='PLAIN'>AGEAYg==</auth>"), server("<success/>")];
  assert.equal(play(openXmpp(), [...OPENED, ...login]).kind, "no");
});

test("Bytes after the request or the agreement, forbidden XML and an endless tag are errors", () => {
  assert.equal(play(openXmpp(), [...ASKED, client("<auth/>")]).kind, "broken");
  assert.equal(play(openXmpp(), [...ASKED, server("<proceed/> ")]).kind, "broken");
  assert.equal(play(openXmpp(), [...OPENED, server("<proceed/>")]).kind, "no");
  assert.equal(play(openXmpp(), [...OPENED, client("<!-- x -->")]).kind, "broken");
  assert.equal(play(openXmpp(), [...OPENED, client(`<a ${"b".repeat(20_000)}`)]).kind, "broken");
  assert.equal(play(openXmpp(), [...OPENED, client("\x16\x03\x01<")]).kind, "more");
  assert.equal(play(openXmpp(), [...OPENED, server(`<a>${"b".repeat(70_000)}`)]).kind, "broken");
});

test("Other XML and other text are not XMPP", () => {
  for (const text of ["<html>", "<a/>", "EHLO example\r\n", "<?xml?><?xml?>"]) {
    assert.equal(play(openXmpp(), [client(text)]).kind, "no");
  }
  assert.equal(play(openXmpp(), [server("<stream:stream>")]).kind, "no");
});
