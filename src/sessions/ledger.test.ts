import assert from "node:assert/strict";
import { test } from "node:test";
import { createLedger } from "./ledger.ts";
import { createLiveTable } from "./table.ts";

const BIRTH = {
  listener: "proxy",
  mode: "explicit",
  client: { address: "10.0.0.1", port: 50_000 },
  server: null,
  state: "EST:INIT:INIT:INIT",
} as const;

test("A session is told whole first, then by what changed", () => {
  const ledger = createLedger(1);
  const entry = ledger.open(BIRTH, 1000);
  const [whole, ...none] = ledger.drain(1000);
  assert.deepEqual(none, []);
  assert.deepEqual(whole, entry.session);
  assert.deepEqual(ledger.drain(1100), []);
  entry.note({ sni: "a.test", protocol: "tls" }, 1200);
  entry.note({ verdict: "decrypt" }, 1300);
  assert.deepEqual(ledger.drain(1400), [
    { id: entry.id, sni: "a.test", protocol: "tls", verdict: "decrypt", lastActivity: 1300 },
  ]);
});

test("A session that opened and closed between two tellings is told once, whole", () => {
  const ledger = createLedger(1);
  const entry = ledger.open(BIRTH, 1000);
  entry.note({ sni: "short.test" }, 1001);
  entry.close("The client closed the connection", 1002);
  assert.deepEqual(ledger.drain(1003), [entry.session]);
  assert.deepEqual([entry.session.end, entry.session.sni], [1002, "short.test"]);
  assert.equal(ledger.size, 0);
});

test("Bytes that passed are taken into both legs' records, as activity, and what a leg negotiated stays", () => {
  const ledger = createLedger(1);
  const entry = ledger.open(BIRTH, 1000);
  entry.note({ clientLeg: { version: "TLSv1.3", received: 0, sent: 0 } }, 1001);
  ledger.drain(1002);
  entry.meter.fromClient += 10;
  entry.meter.toServer += 12;
  entry.meter.fromServer += 200;
  entry.meter.toClient += 150;
  assert.deepEqual(ledger.drain(2000), [
    {
      id: entry.id,
      clientLeg: { version: "TLSv1.3", received: 10, sent: 150 },
      serverLeg: { received: 200, sent: 12 },
      lastActivity: 2000,
    },
  ]);
  assert.deepEqual(ledger.drain(3000), [], "nothing passed since");
});

test("The last bytes before a close are in the record, and nothing after it changes it", () => {
  const ledger = createLedger(1);
  const entry = ledger.open(BIRTH, 1000);
  ledger.drain(1000);
  entry.meter.fromClient += 7;
  entry.close("The client reset the connection", 1500);
  entry.close("A second reason", 1600);
  entry.note({ sni: "late.test" }, 1700);
  entry.meter.fromClient += 7;
  const [change, ...none] = ledger.drain(1800);
  assert.deepEqual(none, []);
  assert.deepEqual([change?.end, change?.closeReason], [1500, "The client reset the connection"]);
  assert.equal(change?.clientLeg?.received, 7);
  assert.equal(change?.sni, undefined);
});

test("Sessions have names of their own, over all workers", () => {
  const names = [1, 2].flatMap((worker) => {
    const ledger = createLedger(worker);
    return Array.from({ length: 100 }, () => ledger.open(BIRTH, 1000).id);
  });
  assert.equal(new Set(names).size, 200);
});

test("A live table that hears a ledger out holds the same records", () => {
  const ledger = createLedger(3);
  const table = createLiveTable();
  const entries = Array.from({ length: 20 }, () => ledger.open(BIRTH, 1000));
  for (const [at, entry] of entries.entries()) {
    if (at % 3 === 0) table.apply(ledger.drain(1100));
    entry.note({ sni: `host-${at}.test` }, 1200);
    entry.meter.fromServer = at;
    if (at % 2 === 0) entry.close("Done", 1300);
  }
  table.apply(ledger.drain(1400));
  for (const entry of entries) assert.deepEqual(table.find(entry.id), entry.session);
  assert.equal(table.size, ledger.size);
});
