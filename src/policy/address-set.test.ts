import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createAddressSet, isAddressEntry, readAddress } from "./address-set.ts";

function find(entries: readonly string[], address: string): readonly string[] {
  const read = readAddress(address);
  assert.ok(read, `${address} is an address`);
  return createAddressSet(entries.map((entry) => [entry, entry])).find(read);
}

const CASES: [entry: string, address: string, matches: boolean][] = [
  ["10.0.0.1", "10.0.0.1", true],
  ["10.0.0.1", "10.0.0.2", false],
  ["10.0.0.0/8", "10.255.255.255", true],
  ["10.0.0.0/8", "11.0.0.0", false],
  ["10.1.2.3/8", "10.0.0.1", true],
  ["0.0.0.0/0", "255.255.255.255", true],
  ["0.0.0.0/0", "::1", false],
  ["::/0", "2001:db8::1", true],
  ["::/0", "10.0.0.1", false],
  ["2001:db8::/32", "2001:db8:ffff::1", true],
  ["2001:db8::/32", "2001:db9::1", false],
  ["10.0.0.1", "::ffff:10.0.0.1", true],
  ["::ffff:10.0.0.0/104", "10.9.9.9", true],
  ["::ffff:10.0.0.1", "10.0.0.1", true],
  ["10.0.0.250-10.0.1.5", "10.0.0.249", false],
  ["10.0.0.250-10.0.1.5", "10.0.0.250", true],
  ["10.0.0.250 - 10.0.1.5", "10.0.1.5", true],
  ["10.0.0.250-10.0.1.5", "10.0.1.6", false],
  ["2001:db8::a-2001:db8::1:0", "2001:db8::ffff", true],
  ["2001:db8::a-2001:db8::1:0", "2001:db8::9", false],
  ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1", true],
];
for (const [entry, address, matches] of CASES) {
  test(`The address entry ${entry} ${matches ? "contains" : "does not contain"} ${address}`, () =>
    assert.deepEqual(find([entry], address), matches ? [entry] : []));
}

for (const entry of [
  "",
  "10",
  "10.0.0",
  "10.0.0.256",
  "010.0.0.1",
  "0x0a.0.0.1",
  "10.0.0.1/33",
  "10.0.0.1/-1",
  "10.0.0.1/",
  "10.0.0.1/8/8",
  "::1/129",
  "::ffff:10.0.0.1/95",
  "10.0.0.5-10.0.0.1",
  "10.0.0.1-::2",
  "10.0.0.1-",
  "example.com",
  "2001:db8:::1",
]) {
  test(`${JSON.stringify(entry)} is not an address entry`, () => assert.equal(isAddressEntry(entry), false));
}

test("The most specific entry comes first", () => {
  assert.deepEqual(find(["0.0.0.0/0", "10.0.0.1", "10.0.0.0/8"], "10.0.0.1"), ["10.0.0.1", "10.0.0.0/8", "0.0.0.0/0"]);
});

const dotted = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join(".");
const near = fc.oneof(
  fc.nat(0xffffffff),
  fc.nat(600).map((offset) => (0x0a000000 - 300 + offset) >>> 0),
);

test("A range of IPv4 addresses contains exactly the addresses between its ends", () => {
  fc.assert(
    fc.property(near, near, near, (a, b, address) => {
      const [first, last] = [Math.min(a, b), Math.max(a, b)];
      const entry = `${dotted(first)}-${dotted(last)}`;
      assert.equal(find([entry], dotted(address)).length, first <= address && address <= last ? 1 : 0);
    }),
  );
});

test("A subnet contains exactly the addresses with the same first bits", () => {
  fc.assert(
    fc.property(near, near, fc.nat(32), (network, address, length) => {
      const bits = (value: number) => value.toString(2).padStart(32, "0").slice(0, length);
      assert.equal(
        find([`${dotted(network)}/${length}`], dotted(address)).length,
        bits(network) === bits(address) ? 1 : 0,
      );
    }),
  );
});

test("A range of IPv6 addresses contains exactly the addresses between its ends", () => {
  const written = (value: bigint) => value.toString(16).padStart(32, "0").match(/.{4}/g)?.join(":") ?? "";
  const value = fc.bigInt({ min: 2n ** 125n, max: 2n ** 125n + 2n ** 70n });
  fc.assert(
    fc.property(value, value, value, (a, b, address) => {
      const [first, last] = a < b ? [a, b] : [b, a];
      assert.equal(
        find([`${written(first)}-${written(last)}`], written(address)).length,
        first <= address && address <= last ? 1 : 0,
      );
    }),
  );
});

test("Any text is read as an address or refused", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (text) => typeof isAddressEntry(text) === "boolean"),
  );
});
