import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger } from "./ledger.ts";
import { handshakeTime } from "./timeline.ts";

const START = 1_000_000;
const leg = { received: 0, sent: 0 };

function open() {
  const client = { address: "192.0.2.1", port: 1 };
  const birth = { listener: "proxy", mode: "explicit", client, server: null, state: "EST:INIT:INIT:INIT" } as const;
  return new Ledger(0).open(birth, START);
}

test("A session's timeline has the ms after its start at which it reached each phase", () => {
  const session = open();
  assert.equal(session.record.timeline, undefined);
  session.update({ state: "EST:SYN_SENT:INIT:INIT" }, START + 1);
  session.update({ state: "EST:EST:INIT:INIT" }, START + 5);
  session.update({ ja4: "t13", sni: "a.test" }, START + 6);
  session.update({ verdict: "decrypt", phase: "sni", rule: "default", reason: "" }, START + 7);
  session.update({ serverLeg: { ...leg, version: "TLSv1.3" } }, START + 30);
  session.update({ verdict: "decrypt", phase: "certificate", rule: "default", reason: "" }, START + 31);
  session.update({ state: "EST:EST:SYN_SENT:INIT" }, START + 32);
  session.update({ state: "EST:EST:SYN_SENT:SYN_RCV" }, START + 33);
  session.update({ state: "EST:EST:EST:EST" }, START + 34);
  session.update({ clientLeg: { ...leg, version: "TLSv1.3" } }, START + 40);
  session.meter.fromServer = 10;
  session.meter.firstByte = START + 44;
  session.close("The client closed the connection", START + 90);
  assert.deepEqual(session.record.timeline, {
    ...{ connected: 5, hello: 6, serverLeg: 30, decided: 31, tools: 34, clientLeg: 40, firstByte: 44 },
  });
});

test("A phase that comes again, as after a late bypass, keeps its first time; of verdicts the last one counts", () => {
  const session = open();
  session.update({ state: "EST:SYN_SENT:INIT:INIT" }, START + 1);
  session.update({ state: "EST:EST:INIT:INIT" }, START + 2);
  session.update({ verdict: "decrypt" }, START + 3);
  session.update({ state: "EST:SYN_SENT:INIT:INIT", verdict: "bypass" }, START + 4);
  session.update({ state: "EST:EST:INIT:INIT" }, START + 9);
  assert.deepEqual(session.record.timeline, { connected: 2, decided: 4 });
});

test("Bytes and departures change no timeline, and an update that reaches nothing tells of none", () => {
  const session = open();
  session.update({ state: "EST:SYN_SENT:INIT:INIT" }, START + 1);
  session.update({ clientLeg: { received: 5, sent: 0 } }, START + 2);
  session.update({ clientLeft: "closed" }, START + 3);
  assert.equal(session.record.timeline, undefined);
});

test("A clock that is set back makes no negative times, and no handshake that took for ever", () => {
  const session = open();
  session.update({ ja4: "t13", verdict: "decrypt" }, START + 6);
  session.update({ clientLeg: { ...leg, version: "TLSv1.3" } }, START - 5_000);
  session.close("The client closed the connection", START - 4_000);
  assert.deepEqual(session.record.timeline, { hello: 6, decided: 6, clientLeg: 0 });
  assert.equal(handshakeTime(session.record, "client"), undefined);
});

test("A handshake that does not finish is no phase of the timeline", () => {
  const session = open();
  session.update({ clientLeg: { ...leg, version: "TLSv1.3", unfinished: true } }, START + 6);
  assert.equal(session.record.timeline, undefined);
});
