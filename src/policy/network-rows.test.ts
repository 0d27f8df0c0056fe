import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createAddressSet, readAddress } from "./address-set.ts";
import { compilePolicy } from "./evaluate.ts";
import { type NetworkRow, networkRows } from "./network-rows.ts";
import type { PolicySource, RuleSource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";

const SOURCE: PolicySource = {
  default: "decrypt",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "bypass" },
  lists: { bypass: [], decrypt: [] },
  rules: [],
  certificate: faultActions("drop"),
  clientCertificate: { action: "bypass", for: 1 },
};

test("networkRows() gives the steps in their order, without those that need more than the SYN", () => {
  const rules: RuleSource[] = [
    { name: "late", match: { host: ["a.example"], client: ["10.0.0.1"] }, action: "drop" },
    { name: "in", match: { port: [443, "8000-9000"] }, action: "decrypt" },
    { name: "out", match: { client: ["10.0.0.0/8"] }, action: "bypass" },
    { name: "elsewhere", match: { listener: ["other"] }, action: "drop" },
    { name: "no", match: { listener: ["edge"], sourcePort: [53] }, action: "drop" },
  ];
  const lists = { bypass: ["192.0.2.0/24", "b.example"], decrypt: ["c.example"] };
  const rows = networkRows({ ...SOURCE, rules, lists });
  assert.deepEqual(
    rows.map(({ name, action }) => `${action} ${name}`),
    ["drop elsewhere", "drop no", "bypass bypass list", "bypass out", "decrypt in"],
  );
  assert.deepEqual(rows[0]?.listeners, ["other"]);
  assert.deepEqual(rows[2]?.server, ["192.0.2.0/24"]);
  assert.deepEqual(rows[4]?.ports, [
    [443, 443],
    [8000, 9000],
  ]);
});

test("The first row that matches gives the policy's verdict", () => {
  const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.1.0.1", "2001:db8::1");
  const subnet = fc.constantFrom("10.0.0.0/24", "10.0.0.1", "10.0.0.0-10.1.0.1", "2001:db8::/32");
  const port = fc.constantFrom(443, 8443, 25);
  const range = fc.constantFrom<number | string>(443, "400-9000", 25);
  const optional = <T>(values: fc.Arbitrary<T>) =>
    fc.option(fc.array(values, { minLength: 1, maxLength: 2 }), { nil: undefined });
  const match = fc.record({
    client: optional(subnet),
    server: optional(subnet),
    port: optional(range),
    sourcePort: optional(range),
  });
  const action = fc.constantFrom("decrypt" as const, "bypass" as const, "drop" as const);
  const rules = fc.array(fc.record({ match, action }), { maxLength: 6 });
  const list = fc.array(subnet, { maxLength: 2 });
  fc.assert(
    fc.property(rules, list, list, address, address, port, port, (some, bypass, decrypt, from, to, sport, dport) => {
      const named = some.map((rule, index) => ({ name: `rule ${index}`, ...rule }));
      const source = { ...SOURCE, rules: named, lists: { bypass, decrypt } };
      const facts = { listener: "edge", client: { address: from, port: sport }, server: { address: to, port: dport } };
      const row = networkRows(source).find((one) => matches(one, from, sport, to, dport));
      const verdict = compilePolicy(source).onNetwork(facts);
      assert.deepEqual([row?.action, row?.name], [verdict?.action, verdict?.rule]);
    }),
  );
});

function matches(
  { client, server, ports, sourcePorts }: NetworkRow,
  from: string,
  sport: number,
  to: string,
  dport: number,
): boolean {
  const holds = (entries: readonly string[] | undefined, address: string) =>
    !entries || createAddressSet(entries.map((entry) => [entry, true])).find(readAddress(address)!).length > 0;
  const within = (ranges: NetworkRow["ports"], port: number) =>
    !ranges || ranges.some(([first, last]) => first <= port && port <= last);
  return holds(client, from) && holds(server, to) && within(ports, dport) && within(sourcePorts, sport);
}
