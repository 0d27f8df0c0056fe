import assert from "node:assert/strict";
import { test } from "node:test";
import { Interning } from "./interning.ts";
import type { Session } from "./record.ts";

const certificate = (faults: string[]) =>
  ({ sha256: "ab", names: ["www.example.com"], faults }) as unknown as NonNullable<Session["certificate"]>;
const leg = () => ({ version: "TLSv1.3", alpn: null, received: 1, sent: 2 });

test("Records that say the same have one certificate between them, and are otherwise unchanged", () => {
  const interning = new Interning();
  const records = ["one", "two"].map((id) => ({ id, sni: null, certificate: certificate([]), clientLeg: leg() }));
  const [one, two] = records.map((record) => interning.share(record));
  assert.equal(one!.certificate, two!.certificate);
  assert.deepEqual([one, two], records);
});

test("The same certificate with other faults stays another", () => {
  const interning = new Interning();
  const [one, two] = [[], ["expired"]].map((faults) => interning.share({ certificate: certificate(faults) }));
  assert.notDeepEqual(one, two);
});
