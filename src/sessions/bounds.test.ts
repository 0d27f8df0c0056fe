import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { bounded, MOST_NAMES } from "./bounds.ts";
import { Ledger } from "./ledger.ts";
import type { CertificateRecord, Session } from "./record.ts";

const START = {
  ...({ listener: "proxy", mode: "explicit", server: null, state: "EST:INIT:INIT:INIT" } as const),
  client: { address: "192.0.2.1", port: 1 },
};
/** Bytes that no record exceeds. */
const MOST = 48 * 1_024;

function certificate(names: readonly string[], text = ""): CertificateRecord {
  return { subject: text, issuer: text, names, sha256: "ab", notBefore: 0, notAfter: 1, faults: [] };
}

test("A certificate's first 64 names are recorded, and how many it has", () => {
  const names = Array.from({ length: 10_500 }, (_, index) => `host-${index}.example`);
  const session = new Ledger(0).open(START, 1);
  session.update({ certificate: certificate(names) }, 2);
  const { certificate: kept } = session.record;
  assert.deepEqual(kept?.names, names.slice(0, MOST_NAMES));
  assert.equal(kept?.nameCount, 10_500);
  // A record that is bounded again stays as it is.
  assert.deepEqual(bounded({ certificate: kept! }), { certificate: kept });
  const few = certificate(names.slice(0, MOST_NAMES));
  assert.equal(bounded({ certificate: few }).certificate, few);
});

test("A field called certificate inside of another one is not taken for the server's certificate", () => {
  const fields = { feeds: { certificate: "x".repeat(5_000) } };
  assert.equal(bounded(fields).feeds.certificate.length, 1_022);
});

test("No record, and no change of one, has more bytes than the bound, whatever peers send", () => {
  const hostile = fc
    .constantFrom("\0", "\u{1F4A9}", "\\", '"', "\ud800", "a")
    .chain((part) => fc.nat(20_000).map((count) => part.repeat(count)));
  fc.assert(
    fc.property(hostile, fc.nat(500), (text, count) => {
      const ledger = new Ledger(0);
      const session = ledger.open(START, 1);
      const names = Array.from({ length: count }, (_, index) => `${index}${"n".repeat(250)}`);
      const faults = names.map((name) => ({ fault: text, code: name }));
      const parts: Partial<Session> = {
        ...{ sni: text, connectHost: text, rule: text, reason: text, ja4: text },
        ...{ certificate: { ...certificate(names, text), faults: faults.slice(0, 10) } },
        startTls: { protocol: text, outcome: "refused", at: null },
        tools: [{ name: text, state: "connected" }],
        feeds: { archive: text },
      };
      session.update(parts, 2);
      session.close(text, 3);
      const [change] = ledger.drain(4);
      assert.ok(Buffer.byteLength(JSON.stringify(change)) <= MOST);
    }),
    { numRuns: 50 },
  );
});

test("A text that fits stays as it is, and a longer one is cut at a whole character", () => {
  assert.equal(bounded({ reason: "é".repeat(512) }).reason, "é".repeat(512));
  const { reason } = bounded({ reason: "\u{1F4A9}".repeat(300) });
  assert.equal(reason, `${"\u{1F4A9}".repeat(255)}…`);
});
