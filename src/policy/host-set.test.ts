import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalHost, createHostSet, readHostEntry } from "./host-set.ts";

const has = (entry: string, host: string) => createHostSet([[entry, true]]).find(canonicalHost(host)).length > 0;

const CASES: [entry: string, host: string, matches: boolean][] = [
  ["example.com", "example.com", true],
  ["example.com", "www.example.com", false],
  ["example.com", "evilexample.com", false],
  ["example.com", "example.com.evil.net", false],
  ["*.example.com", "www.example.com", true],
  ["*.example.com", "a.b.c.example.com", true],
  ["*.example.com", "example.com", false],
  ["*.example.com", "evilexample.com", false],
  ["*.example.com", ".example.com", false],
  ["*.example.com", "*.example.com", true],
  ["www.example.com", "*.example.com", false],
  ["Example.COM.", "eXample.com", true],
  ["example.com", "EXAMPLE.com.", true],
  ["bücher.example", "xn--bcher-kva.example", true],
  ["*.BÜCHER.example", "www.xn--bcher-kva.example", true],
  ["*.com", "example.com", true],
  ["localhost", "localhost", true],
  ["_sip.example.com", "_sip.example.com", true],
];
for (const [entry, host, matches] of CASES) {
  test(`The host entry ${entry} ${matches ? "matches" : "does not match"} ${host}`, () =>
    assert.equal(has(entry, host), matches));
}

for (const entry of [
  "",
  ".",
  "*",
  "*.",
  "*.*.com",
  "*example.com",
  "www.*.com",
  "a..b",
  "-a.com",
  "a-.com",
  "a b.com",
  "10.0.0.1",
  "1.2.3",
  "http://a.com",
  "a.com/x",
  "a.com:443",
  "a@b.com",
  "münchen.de/x",
  `${"a".repeat(64)}.com`,
]) {
  test(`${JSON.stringify(entry)} is not a host entry`, () => assert.equal(readHostEntry(entry), undefined));
}

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const host = fc
  .tuple(fc.array(label, { maxLength: 4 }), fc.stringMatching(/^[a-z]{2,6}$/))
  .map(([labels, top]) => [...labels, top].join("."));

test("A wildcard matches exactly the hosts that end in a dot and its name", () => {
  fc.assert(
    fc.property(
      host,
      fc.oneof(
        host,
        host.map((name) => `x${name}`),
      ),
      fc.boolean(),
      (name, other, below) => {
        const candidate = below ? `${other}.${name}` : other;
        assert.equal(has(`*.${name}`, candidate), candidate.endsWith(`.${name}`) && candidate !== `.${name}`);
        assert.equal(has(name, candidate), candidate === name);
      },
    ),
  );
});

test("A host with a prefix before it does not match, whatever the case and the trailing dot", () => {
  fc.assert(
    fc.property(host, label, (name, glue) => {
      const set = createHostSet([
        [name, 1],
        [`*.${name}`, 2],
      ]);
      assert.deepEqual(set.find(canonicalHost(`${glue}${name}`.toUpperCase())), []);
      assert.deepEqual(set.find(canonicalHost(`${glue}.${name}.`.toUpperCase())), [2]);
      assert.deepEqual(set.find(canonicalHost(`${name}.`.toUpperCase())), [1]);
    }),
  );
});

test("The most specific entry comes first", () => {
  const set = createHostSet(["*.example.com", "*.com", "www.example.com"].map((entry) => [entry, entry]));
  assert.deepEqual(set.find("www.example.com"), ["www.example.com", "*.example.com", "*.com"]);
  assert.equal(set.size, 3);
});

test("Any text can be made canonical and searched for", () => {
  const set = createHostSet([["example.com", true]]);
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => set.find(canonicalHost(text)).length <= 1));
});
