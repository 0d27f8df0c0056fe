import assert from "node:assert/strict";
import { test } from "node:test";
import { Ledger } from "./ledger.ts";
import { LiveTable } from "./table.ts";

const BIRTH = {
  listener: "proxy",
  mode: "explicit",
  client: { address: "10.0.0.1", port: 50_000 },
  server: null,
  state: "EST:INIT:INIT:INIT",
} as const;

test("The first report of a session is whole, later ones have what changed", () => {
  const ledger = new Ledger(1);
  const session = ledger.open(BIRTH, 1000);
  const [whole, ...none] = ledger.drain(1000);
  assert.deepEqual(none, []);
  assert.deepEqual(whole, session.record);
  assert.deepEqual(ledger.drain(1100), []);
  session.update({ sni: "a.test", protocol: "tls" }, 1200);
  session.update({ verdict: "decrypt" }, 1300);
  assert.deepEqual(ledger.drain(1400), [
    {
      id: session.id,
      sni: "a.test",
      protocol: "tls",
      verdict: "decrypt",
      lastActivity: 1300,
      timeline: { decided: 300 },
    },
  ]);
});

test("What was reported does not change when the session goes on", () => {
  const ledger = new Ledger(1);
  const session = ledger.open(BIRTH, 1000);
  const first = ledger.drain(1000);
  session.update({ sni: "a.test" }, 1100);
  const second = ledger.drain(1100);
  session.update({ sni: "b.test" }, 1200);
  session.close("The client closed the connection", 1300);
  assert.deepEqual(
    [first[0]?.sni, first[0]?.end, second[0]?.sni, session.record.sni],
    [null, null, "a.test", "b.test"],
  );
});

test("A session that opened and closed between two reports is reported once, whole", () => {
  const ledger = new Ledger(1);
  const session = ledger.open(BIRTH, 1000);
  session.update({ sni: "short.test" }, 1001);
  session.close("The client closed the connection", 1002);
  assert.deepEqual(ledger.drain(1003), [session.record]);
  assert.deepEqual([session.record.end, session.record.sni], [1002, "short.test"]);
  assert.equal(ledger.size, 0);
});

test("Bytes that passed are activity and enter both legs' records, which keep what was negotiated", () => {
  const ledger = new Ledger(1);
  const session = ledger.open(BIRTH, 1000);
  session.update({ clientLeg: { version: "TLSv1.3", received: 0, sent: 0 } }, 1001);
  ledger.drain(1002);
  session.meter.fromClient += 10;
  session.meter.toServer += 12;
  session.meter.fromServer += 200;
  session.meter.toClient += 150;
  assert.deepEqual(ledger.drain(2000), [
    {
      id: session.id,
      clientLeg: { version: "TLSv1.3", received: 10, sent: 150 },
      serverLeg: { received: 200, sent: 12 },
      lastActivity: 2000,
    },
  ]);
  assert.deepEqual(ledger.drain(3000), [], "nothing passed since");
});

test("A close brings the last alerts of the legs that had TLS, and is no activity", () => {
  const ledger = new Ledger(1);
  const session = ledger.open(BIRTH, 1000);
  session.update({ clientLeg: { version: "TLSv1.3", received: 0, sent: 0 } }, 1001);
  ledger.drain(1002);
  const alerts = { alertReceived: "close_notify", alertSent: "close_notify" };
  session.close("The client closed the connection", 2000, { client: alerts });
  const clientLeg = { version: "TLSv1.3", received: 0, sent: 0, ...alerts };
  const closeReason = "The client closed the connection";
  const ending = { outcome: "decrypted", cause: null, blame: null };
  assert.deepEqual(ledger.drain(2001), [{ id: session.id, clientLeg, end: 2000, closeReason, ...ending }]);
  assert.equal(session.record.lastActivity, 1001);
});

test("The record has the last bytes before a close, and does not change after it", () => {
  const ledger = new Ledger(1);
  const session = ledger.open(BIRTH, 1000);
  ledger.drain(1000);
  session.meter.fromClient += 7;
  session.close("The client reset the connection", 1500);
  session.close("A second reason", 1600);
  session.update({ sni: "late.test" }, 1700);
  session.meter.fromClient += 7;
  const [change, ...none] = ledger.drain(1800);
  assert.deepEqual(none, []);
  assert.deepEqual([change?.end, change?.closeReason], [1500, "The client reset the connection"]);
  assert.equal(change?.clientLeg?.received, 7);
  assert.equal(change?.sni, undefined);
});

test("Session IDs are unique over all workers", () => {
  const names = [1, 2].flatMap((worker) => {
    const ledger = new Ledger(worker);
    return Array.from({ length: 100 }, () => ledger.open(BIRTH, 1000).id);
  });
  assert.equal(new Set(names).size, 200);
});

test("A live table that applies the changes of a ledger has the same records", () => {
  const ledger = new Ledger(3);
  const table = new LiveTable();
  const sessions = Array.from({ length: 20 }, () => ledger.open(BIRTH, 1000));
  for (const [at, session] of sessions.entries()) {
    if (at % 3 === 0) table.apply(ledger.drain(1100));
    session.update({ sni: `host-${at}.test` }, 1200);
    session.meter.fromServer = at;
    if (at % 2 === 0) session.close("Done", 1300);
  }
  table.apply(ledger.drain(1400));
  for (const session of sessions) assert.deepEqual(table.find(session.id), session.record);
  assert.equal(table.size, ledger.size);
});
