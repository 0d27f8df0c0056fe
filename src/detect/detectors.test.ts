import assert from "node:assert/strict";
import { test } from "node:test";
import { RECORDED } from "../../test/recorded/client-hello/recorded.ts";
import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { openDetectors } from "./detectors.ts";

const HELLO = RECORDED["go"]!;

test("A client that begins with a ClientHello is detected as TLS at the hello's last byte", () => {
  const opening = openDetectors();
  for (const byte of HELLO.subarray(0, -1)) assert.equal(opening.feed("client", Buffer.of(byte)).kind, "more");
  const sighting = opening.feed("client", HELLO.subarray(-1));
  assert.equal(sighting.kind, "match");
  assert.partialDeepStrictEqual(sighting, { sight: { protocol: "tls", hello: { serverName: "www.example.com" } } });
});

test("A server that sends before the hello is complete does not speak TLS", () => {
  const opening = openDetectors();
  assert.equal(opening.feed("client", HELLO.subarray(0, 40)).kind, "more");
  assert.equal(opening.feed("server", Buffer.from("220 mail.example ESMTP\r\n")).kind, "no");
});

test("A server whose bytes begin a TLS record settles nothing: the client's hello counts", () => {
  const warning = Buffer.from("15030300020170", "hex");
  for (const cut of [1, 2, 7]) {
    const opening = openDetectors();
    assert.equal(opening.feed("server", warning.subarray(0, cut)).kind, "more");
    assert.equal(opening.feed("client", HELLO.subarray(0, 3)).kind, "more");
    assert.equal(opening.feed("server", warning.subarray(cut)).kind, "more");
    assert.equal(opening.feed("client", HELLO.subarray(3)).kind, "match");
  }
  // The second byte shows that it was no record.
  const other = openDetectors();
  assert.equal(other.feed("server", Buffer.of(0x15)).kind, "more");
  assert.equal(other.feed("server", Buffer.of(0x04)).kind, "no");
});

test("A client that puts another TLS record in front of its hello has broken the protocol", () => {
  for (const prefix of ["15030300020170", "140303000101", "170303000100", "1503010002015a"]) {
    const bytes = Buffer.concat([Buffer.from(prefix, "hex"), HELLO]);
    assert.throws(() => openDetectors().feed("client", bytes), { name: "PeerError", alert: ALERTS.unexpected_message });
  }
});

test("The answer is repeated for all later bytes", () => {
  const opening = openDetectors();
  assert.equal(opening.feed("client", Buffer.from("GET / HTTP/1.1\r\n")).kind, "no");
  assert.equal(opening.feed("client", HELLO).kind, "no");
  const matched = openDetectors();
  assert.equal(matched.feed("client", HELLO).kind, "match");
  assert.equal(matched.feed("server", Buffer.from([22])).kind, "match");
});

test("Without bytes there is no answer", () => {
  const opening = openDetectors();
  assert.equal(opening.feed("client", Buffer.alloc(0)).kind, "more");
  assert.equal(opening.feed("server", Buffer.alloc(0)).kind, "more");
});

test("A broken ClientHello is a PeerError", () => {
  assert.throws(() => openDetectors().feed("client", Buffer.from("16030100010200", "hex")), PeerError);
});
