import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createAddressSet, readAddress } from "./address-set.ts";
import { canonicalHost, createHostSet } from "./host-set.ts";
import { addressEntries, listedAddresses, listedHosts, packList, tablesOf } from "./list-table.ts";

const LABEL = fc.constantFrom("a", "b", "a-b", "_c", "0", "com", "xn--bcher-kva");
const HOST = fc.array(LABEL, { minLength: 1, maxLength: 4 }).map((labels) => `${labels.join(".")}.x`);
const ENTRY = fc.tuple(fc.boolean(), HOST).map(([whole, host]) => (whole ? `*.${host}` : host));
const ASKED = fc.oneof(
  HOST,
  ENTRY,
  fc.constantFrom("", ".", "*.x", "x", "a/b.x", "b.x/a", ".a.x", "aǸ.x", "/x", "*.*.x"),
);

test("A packed list finds the hosts that a set of its entries finds", () => {
  fc.assert(
    fc.property(fc.array(ENTRY, { maxLength: 30 }), ASKED, fc.nat(), (entries, asked, cut) => {
      const set = createHostSet([...new Set(entries)].map((entry) => [entry, entry]));
      const [first, second] = [entries.slice(0, cut), entries.slice(cut)];
      for (const list of [
        [packList(entries)],
        [packList(first), ...second.filter((entry) => !first.includes(entry))],
      ]) {
        const packed = listedHosts(tablesOf(list));
        assert.equal(packed.size, set.size);
        assert.deepEqual([...packed.find(asked)].sort(), [...set.find(asked)].sort());
        assert.deepEqual([...packed.below(asked)].sort(), [...set.below(asked)].sort());
        assert.equal(packed.below(asked, 1).length, Math.min(1, set.below(asked).length));
        assert.equal(packed.reach(asked).length > 0, set.reach(asked).length > 0);
      }
    }),
  );
});

test("An entry is found and shown in the form in which hosts are compared", () => {
  const hosts = listedHosts(tablesOf([packList(["*.BÜCHER.example", "Example.COM."])]));
  assert.deepEqual(hosts.find(canonicalHost("www.bücher.example")), ["*.xn--bcher-kva.example"]);
  assert.deepEqual(hosts.find("example.com"), ["example.com"]);
});

const BYTE = fc.constantFrom(0, 1, 10, 128, 255);
const V4 = fc.tuple(BYTE, BYTE, BYTE, BYTE).map((bytes) => bytes.join("."));
const V6 = fc.tuple(BYTE, BYTE).map(([a, b]) => `2001:db8:${a.toString(16)}::${b.toString(16)}`);
const ADDRESS = fc.oneof(V4, V6);
const BLOCK = fc.oneof(
  ADDRESS,
  fc.tuple(V4, fc.integer({ min: 0, max: 32 })).map(([address, length]) => `${address}/${length}`),
  fc.tuple(V6, fc.integer({ min: 0, max: 128 })).map(([address, length]) => `${address}/${length}`),
  fc.tuple(V4, V4).map(([from, to]) => `${from}-${to}`),
);

test("A packed list finds the addresses that a set of its entries finds", () => {
  fc.assert(
    fc.property(fc.array(BLOCK, { maxLength: 20 }), ADDRESS, (entries, asked) => {
      const address = readAddress(asked);
      assert.ok(address);
      const set = createAddressSet([...new Set(entries)].map((entry) => [entry, entry]));
      const found = listedAddresses(tablesOf([packList(["host.example", ...entries])])).find(address);
      assert.deepEqual([...found].sort(), [...set.find(address)].sort());
    }),
  );
});

test("The kernel gets the addresses of a packed list as they were written", () => {
  const list = [packList(["10.0.0.1 - 10.0.0.9", "host.example", "2001:db8::/32"]), "192.0.2.1", "other.example"];
  assert.deepEqual(addressEntries(list).sort(), ["10.0.0.1-10.0.0.9", "192.0.2.1", "2001:db8::/32"]);
});
