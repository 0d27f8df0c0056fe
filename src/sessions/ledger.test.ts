import assert from "node:assert/strict";
import { test } from "node:test";
import { createLedger } from "./ledger.ts";
import { createLiveTable } from "./table.ts";

const CLIENT = { address: "192.0.2.7", port: 50000 };
const BIRTH = {
  listener: "proxy",
  mode: "explicit",
  client: CLIENT,
  server: null,
  state: "EST:INIT:INIT:INIT",
} as const;

test("a session is told whole at first, and then only what changed", () => {
  const ledger = createLedger(3);
  const entry = ledger.open(BIRTH, 1000);
  assert.deepEqual(ledger.drain(1000), [entry.session]);
  entry.note({ sni: "www.example.com" }, 2000);
  entry.note({ verdict: "decrypt" }, 3000);
  assert.deepEqual(ledger.drain(3000), [
    { id: entry.id, sni: "www.example.com", verdict: "decrypt", lastActivity: 3000 },
  ]);
  assert.deepEqual(ledger.drain(4000), []);
});

test("bytes are told when they moved, to each leg as its peer sees them", () => {
  const ledger = createLedger(0);
  const entry = ledger.open(BIRTH, 1000);
  ledger.drain(1000);
  entry.note({ clientLeg: { version: "TLSv1.3", received: 0, sent: 0 } }, 1500);
  Object.assign(entry.meter, { fromClient: 10, fromServer: 2000 });
  ledger.drain(2000);
  assert.deepEqual(entry.session.clientLeg, { version: "TLSv1.3", received: 10, sent: 2000 });
  assert.deepEqual(entry.session.serverLeg, { received: 2000, sent: 10 });
  assert.equal(entry.session.lastActivity, 2000);
  assert.deepEqual(ledger.drain(3000), []);
});

test("a session that opens and closes between two tellings is told once, with its last bytes", () => {
  const ledger = createLedger(0);
  const entry = ledger.open(BIRTH, 1000);
  entry.meter.fromClient = 7;
  entry.close("The client closed the connection", 1100);
  entry.close("The server closed the connection", 1200);
  entry.note({ sni: "late.example" }, 1300);
  const [told, ...more] = ledger.drain(2000);
  assert.deepEqual(more, []);
  assert.deepEqual([told?.end, told?.closeReason], [1100, "The client closed the connection"]);
  assert.deepEqual([told?.clientLeg?.received, told?.sni, ledger.size], [7, null, 0]);
});

test("the live table, told by the ledgers of two workers, knows what they know", () => {
  const table = createLiveTable();
  const ledgers = [createLedger(0), createLedger(1)];
  const entries = ledgers.map((ledger) => ledger.open(BIRTH, 1000));
  const tell = () => {
    for (const ledger of ledgers) table.apply(ledger.drain(2000));
  };
  tell();
  entries[0]!.note({ sni: "www.example.com" }, 1500);
  entries[1]!.close("The client closed the connection", 1600);
  tell();
  assert.equal(new Set(entries.map(({ id }) => id)).size, 2);
  for (const { id, session } of entries) assert.deepEqual(table.find(id), session);
  assert.equal(table.size, 1);
});
