import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Session } from "./record.ts";
import { compareSessions, compileQuery } from "./search.ts";
import { openSession } from "./session.ts";
import { LiveTable, type SessionChange } from "./table.ts";

function born(id: string, news: Partial<Session> = {}): Session {
  const client = { address: "192.0.2.7", port: 50000 };
  const birth = { id, worker: 0, listener: "proxy", mode: "explicit", client, server: null } as const;
  return { ...openSession({ ...birth, state: "EST:INIT:INIT:INIT" }, 1000), ...news };
}

function ids(sessions: Iterable<Session>): string {
  return [...sessions].map(({ id }) => id).join(" ");
}

test("A session is opened, changed and closed by the reports of its worker", () => {
  const table = new LiveTable();
  assert.equal(ids(table.apply([born("a")]).opened), "a");
  const { changed } = table.apply([{ id: "a", sni: "x.example" }]);
  assert.deepEqual([changed[0]!.sni, changed[0]!.listener], ["x.example", "proxy"]);
  const { closed } = table.apply([{ id: "a", end: 2000, closeReason: "The client closed the connection" }]);
  assert.equal(closed[0]!.sni, "x.example");
  assert.equal(table.size, 0);
  assert.equal(table.find("a")?.end, 2000);
});

test("A session that opens and closes in one batch is reported once, as closed", () => {
  const applied = new LiveTable().apply([born("a"), { id: "a", sni: "x.example" }, { id: "a", end: 2000 }]);
  assert.deepEqual([ids(applied.opened), ids(applied.changed), ids(applied.closed)], ["", "", "a"]);
});

test("A change of a session that is not in the table is ignored", () => {
  const table = new LiveTable();
  table.apply([
    { id: "ghost", sni: "x.example" },
    born("a"),
    { id: "a", end: 2000 },
    { id: "a", sni: "late" },
    born("a"),
  ]);
  assert.equal(table.size, 0);
  assert.equal(table.find("ghost"), undefined);
  assert.equal(table.find("a")?.sni, null);
});

test("A dead worker's sessions end with it, and no others", () => {
  const table = new LiveTable();
  table.apply([born("a", { worker: 1 }), born("b", { worker: 2 }), born("c", { worker: 1 })]);
  const dropped = table.dropWorker(1, 5000);
  assert.deepEqual(
    dropped.map(({ id, end, closeReason }) => [id, end, closeReason]),
    [
      ["a", 5000, "The worker ended"],
      ["c", 5000, "The worker ended"],
    ],
  );
  assert.equal(ids(table.live()), "b");
});

test("A search gives the newest sessions first, up to its limit", () => {
  const table = new LiveTable();
  table.apply(["a", "b", "c"].map((id, i) => born(id, { sni: "x.example", start: 1000 + i })));
  assert.equal(ids(table.search({ host: "x.example" }, 2)), "c b");
  assert.equal(ids(table.search({}, 10)), "c b a");
});

test("Only the last closed sessions are kept", () => {
  const table = new LiveTable({ recent: 2 });
  table.apply(["a", "b", "c"].flatMap((id) => [born(id), { id, end: 2000 }]));
  assert.deepEqual(
    ["a", "b", "c"].map((id) => table.find(id)?.id),
    [undefined, "b", "c"],
  );
});

test("The index by host finds what a walk over the table finds", () => {
  const host = fc.constantFrom("a.example", "b.example", "*.example", "c.b.example");
  const change = fc.record({
    id: fc.constantFrom("1", "2", "3"),
    what: fc.constantFrom("open", "sni", "certificate", "close"),
    host,
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), host, (story, query) => {
      const table = new LiveTable();
      for (const { id, what, host } of story) table.apply([changeOf(id, what, host)]);
      const walked = [...table.live()].filter(compileQuery({ host: query }));
      assert.deepEqual(new Set(table.search({ host: query }, 100)), new Set(walked));
    }),
  );
});

function changeOf(id: string, what: string, host: string): SessionChange {
  const names = { subject: "", issuer: "", names: [host], sha256: "", notBefore: 0, notAfter: 0, faults: [] };
  if (what === "open") return born(id, { sni: host });
  if (what === "sni") return { id, sni: host };
  return what === "certificate" ? { id, certificate: names } : { id, end: 2000 };
}

test("Live and ended sessions are counted by verdict and phase", () => {
  const table = new LiveTable();
  const faulty = { subject: "", issuer: "", names: [], sha256: "", notBefore: 0, notAfter: 0 };
  table.apply([
    born("a", { verdict: "decrypt", phase: "sni" }),
    born("b", {
      protocol: "tls",
      certificate: { ...faulty, faults: [{ fault: "expired", code: "CERT_HAS_EXPIRED" }] },
    }),
    { id: "a", verdict: "bypass", phase: "certificate", clientLeg: { received: 10, sent: 20 } },
    { id: "b", end: 2000 },
  ]);
  const { proxy } = table.counters();
  assert.deepEqual([proxy!.open, proxy!.total, proxy!.undecided, proxy!.handshakeFailures], [1, 2, 1, 1]);
  assert.deepEqual([proxy!.decided.decrypt.sni, proxy!.decided.bypass.certificate], [0, 1]);
  assert.deepEqual([proxy!.bytes.clientReceived, proxy!.bytes.clientSent], [10, 20]);
  assert.deepEqual({ ...proxy!.faults }, { expired: 1 });
  assert.deepEqual([table.endedCounters()["proxy"]!.total, table.endedCounters()["proxy"]!.open], [1, 0]);
});

test("Reading the counters does not change them", () => {
  const table = new LiveTable();
  table.apply([born("a"), { id: "a", end: 2000 }, born("b")]);
  assert.deepEqual(table.counters(), table.counters());
  table.counters()["proxy"]!.total = 99;
  table.endedCounters()["proxy"]!.total = 99;
  assert.equal(table.counters()["proxy"]!.total, 2);
});

test("A listener may have any name", () => {
  const table = new LiveTable();
  table.apply([born("a", { listener: "constructor" }), born("b", { listener: "__proto__" })]);
  assert.deepEqual(Object.keys(table.counters()), ["constructor", "__proto__"]);
});

test("The newest live sessions are found in whatever order they are reported", () => {
  const start = fc.integer({ min: 0, max: 40 });
  const reports = fc.array(fc.record({ start, isOver: fc.boolean(), sni: fc.constantFrom("a.example", "b.example") }));
  fc.assert(
    fc.property(reports, fc.integer({ min: 1, max: 12 }), (given, limit) => {
      const table = new LiveTable();
      const live: Session[] = [];
      for (const [at, { isOver, ...news }] of given.entries()) {
        const session = born(`s${at}`, news);
        table.apply([session, { id: session.id, connectHost: "c.example" }]);
        if (isOver) table.apply([{ id: session.id, end: 99 }]);
        else live.push(session);
      }
      const wanted = live.sort(compareSessions);
      assert.equal(ids(table.search({}, limit)), ids(wanted.slice(0, limit)));
      const ofState = wanted.filter(({ state }) => state === "EST:INIT:INIT:INIT");
      assert.equal(ids(table.search({ state: "EST:INIT:INIT:INIT" }, limit)), ids(ofState.slice(0, limit)));
    }),
  );
});
