import assert from "node:assert/strict";
import { test } from "node:test";
import { createPairing } from "./pairing.ts";

const FROM = { address: "10.1.0.2", port: 40_000 };
const TO = { address: "10.2.0.2", port: 80 };
const OTHER = { address: "10.1.0.3", port: 40_000 };

function open() {
  const pairing = createPairing<string>((address) => address.toLowerCase());
  const log: string[] = [];
  const session = { onReturn: () => log.push("SYN"), onConnection: (socket: string) => log.push(socket) };
  return { pairing, log, session };
}

test("A session's SYN is accepted, and its connection is given to the session", () => {
  const { pairing, log, session } = open();
  pairing.await(FROM, TO, session);
  assert.equal(pairing.has(FROM, TO), true);
  assert.equal(pairing.onSyn(FROM, TO), "awaited");
  assert.equal(pairing.onConnection("Tb", FROM, TO), true);
  assert.deepEqual(log, ["SYN", "Tb"]);
  assert.equal(pairing.strangers, 0);
});

test("A connection with other ends, with swapped ends, or after its session is a stranger", () => {
  const { pairing, session } = open();
  const awaited = pairing.await(FROM, TO, session);
  assert.equal(pairing.onSyn(OTHER, TO), "stranger");
  assert.equal(pairing.onSyn(TO, FROM), "stranger");
  assert.equal(pairing.onConnection("X", OTHER, TO), false);
  awaited.forget();
  assert.equal(pairing.onSyn(FROM, TO), "stranger");
  assert.equal(pairing.onConnection("X", FROM, TO), false);
  assert.equal(pairing.strangers, 5);
});

test("A duplicate SYN changes nothing when its connection is there, and is no stranger", () => {
  const { pairing, log, session } = open();
  pairing.await(FROM, TO, session);
  assert.deepEqual([pairing.onSyn(FROM, TO), pairing.onSyn(FROM, TO)], ["awaited", "awaited"]);
  pairing.onConnection("Tb", FROM, TO);
  assert.equal(pairing.onSyn(FROM, TO), "again");
  assert.deepEqual(log, ["SYN", "SYN", "Tb"]);
  assert.equal(pairing.strangers, 0);
});

test("A second connection with the ends of a live session is a stranger", () => {
  const { pairing, log, session } = open();
  pairing.await(FROM, TO, session);
  pairing.onConnection("Tb", FROM, TO);
  assert.equal(pairing.onConnection("another", FROM, TO), false);
  assert.deepEqual([log, pairing.strangers], [["Tb"], 1]);
});

test("Two spellings of an address are the same address", () => {
  const { pairing, session } = open();
  pairing.await({ address: "FD00::1", port: 1 }, { address: "fd00::2", port: 2 }, session);
  assert.equal(pairing.onSyn({ address: "fd00::1", port: 1 }, { address: "FD00::2", port: 2 }), "awaited");
});

test("A session that ends does not remove the entry of its successor", () => {
  const { pairing, session } = open();
  const first = pairing.await(FROM, TO, session);
  first.forget();
  pairing.await(FROM, TO, session);
  first.forget();
  assert.equal(pairing.onSyn(FROM, TO), "awaited");
});
