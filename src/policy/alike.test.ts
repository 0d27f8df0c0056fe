import assert from "node:assert/strict";
import { test } from "node:test";
import { BypassTable } from "./bypass.ts";
import { compilePolicy } from "./evaluate.ts";
import type { Facts } from "./facts.ts";
import type { PolicySource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";

const FACTS: Facts = {
  listener: "proxy",
  client: { address: "10.0.0.9", port: 51_000 },
  server: { address: "192.0.2.5", port: 443 },
  ...{ sni: "a.shop.example", connectHost: null, versions: [0x0304] },
};

function sourceOf(source: Partial<PolicySource>): PolicySource {
  return {
    default: "decrypt",
    versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
    lists: { bypass: [], decrypt: [] },
    rules: [],
    certificate: faultActions("drop"),
    clientCertificate: { action: "bypass", for: 1 },
    ...source,
  };
}

/** The names that stay, of these; "all" if none goes. */
function kept(
  source: Partial<PolicySource>,
  names: string[],
  facts: Partial<Facts> = {},
  demanding = "",
  refused = "",
): string {
  const policy = compilePolicy(sourceOf(source));
  const certificate = { names, issuer: "CN=ca", faults: [] };
  const learnt = (host: string) => ({
    clientCertificateDemanded: host === demanding,
    channelBound: false,
    certificateRefused: host === refused,
  });
  return policy.namesAlike({ ...FACTS, certificate, ...facts }, learnt)?.join(" ") ?? "all";
}

const bypassed = (...entries: string[]) => ({ lists: { bypass: entries, decrypt: [] } });
const dropped = (...host: string[]) => ({ rules: [{ name: "no", match: { host }, action: "drop" as const }] });
const NAMES = ["a.shop.example", "b.shop.example", "c.other.example"];

const CASES: [
  title: string,
  source: Partial<PolicySource>,
  names: string[],
  expected: string,
  facts?: Partial<Facts>,
][] = [
  ["without rules for hosts", {}, NAMES, "all"],
  ["that no rule treats otherwise", bypassed("d.shop.example", "*.elsewhere.example"), NAMES, "all"],
  ["but a bypassed host", bypassed("b.shop.example"), NAMES, "a.shop.example c.other.example"],
  ["but a dropped host", dropped("b.shop.example"), NAMES, "a.shop.example c.other.example"],
  ["but hosts under a bypassed pattern", bypassed("*.other.example"), NAMES, "a.shop.example b.shop.example"],
  ["however they are written", bypassed("b.shop.example"), ["a.shop.example", "B.Shop.Example."], "a.shop.example"],
  [
    "but one with other tools",
    { rules: [{ name: "b", match: { host: ["b.shop.example"] }, action: "decrypt", tools: ["ips"] }] },
    NAMES,
    "a.shop.example c.other.example",
  ],
  [
    "but one that another rule decrypts",
    { lists: { bypass: [], decrypt: ["b.shop.example"] } },
    NAMES,
    "a.shop.example c.other.example",
  ],
  [
    "but those that its own rule does not have",
    { default: "bypass", lists: { bypass: [], decrypt: ["a.shop.example"] } },
    NAMES,
    "a.shop.example",
  ],
  [
    "a wildcard too, if nothing below it is treated otherwise",
    bypassed("x.deep.shop.example", "shop.example"),
    ["*.shop.example"],
    "all",
  ],
  [
    "but a wildcard with a bypassed host below it",
    bypassed("b.shop.example"),
    ["*.shop.example", "a.shop.example"],
    "a.shop.example",
  ],
  ["but a wildcard with a dropped host below it", dropped("b.shop.example"), ["*.shop.example"], ""],
  [
    "but a wildcard that is bypassed as a whole",
    bypassed("*.other.example"),
    ["a.shop.example", "*.other.example"],
    "a.shop.example",
  ],
  [
    "for this client",
    { rules: [{ name: "c", match: { host: ["b.shop.example"], client: ["10.1.0.0/16"] }, action: "bypass" }] },
    NAMES,
    "all",
  ],
  [
    "not for that one",
    { rules: [{ name: "c", match: { host: ["b.shop.example"], client: ["10.0.0.0/16"] }, action: "bypass" }] },
    NAMES,
    "a.shop.example c.other.example",
  ],
  [
    "that came by CONNECT",
    bypassed("b.shop.example"),
    NAMES,
    "a.shop.example c.other.example",
    { connectHost: "a.shop.example", upgraded: true },
  ],
  [
    "but an address that is bypassed",
    bypassed("192.0.2.6"),
    ["a.shop.example", "192.0.2.5", "192.0.2.6"],
    "a.shop.example 192.0.2.5",
  ],
  [
    "but an address that a rule treats otherwise",
    { rules: [{ name: "no", match: { server: ["192.0.2.6"] }, action: "drop" }] },
    ["a.shop.example", "192.0.2.5", "192.0.2.6"],
    "a.shop.example 192.0.2.5",
  ],
  [
    "but an address that a rule for the host treats otherwise",
    { rules: [{ name: "no", match: { host: ["a.shop.example"], server: ["192.0.2.6"] }, action: "bypass" }] },
    ["a.shop.example", "192.0.2.5", "192.0.2.6"],
    "a.shop.example 192.0.2.5",
  ],
  ["its addresses too", dropped("b.shop.example"), ["a.shop.example", "192.0.2.5", "192.0.2.6"], "all"],
];

for (const [title, source, names, expected, facts] of CASES) {
  test(`A certificate is issued for all names, ${title}`, () => assert.equal(kept(source, names, facts), expected));
}

test("A host that is known to demand a client certificate is bypassed, and left out", () => {
  assert.equal(kept({}, NAMES, {}, "b.shop.example"), "a.shop.example c.other.example");
});

test("A wildcard with more entries below it than are judged is left out", () => {
  const many = Array.from({ length: 1_001 }, (_, index) => `h${index}.shop.example`);
  assert.equal(kept({ lists: { bypass: [], decrypt: many } }, ["a.shop.example", "*.shop.example"]), "a.shop.example");
});

test("Thousands of names, and of entries, are judged, and few names stay", () => {
  const names = Array.from({ length: 10_000 }, (_, index) => `n${index}.many.example`);
  const entries = Array.from({ length: 10_000 }, (_, index) => `n${index * 2}.many.example`);
  const left = kept(bypassed(...entries), ["a.shop.example", ...names]).split(" ");
  assert.equal(left.length, 1 + 499);
});

test("The certificate leaves out a host whose certificates this client is known to refuse", () => {
  assert.equal(kept({}, NAMES, {}, "", "b.shop.example"), "a.shop.example c.other.example");
});

test("An address is left out from the moment when there is a bypass for it", () => {
  const bypasses = new BypassTable();
  const policy = compilePolicy(sourceOf({}), bypasses);
  const certificate = { names: ["a.shop.example", "192.0.2.6"], issuer: "CN=ca", faults: [] };
  const learnt = () => ({ clientCertificateDemanded: false, channelBound: false, certificateRefused: false });
  const alike = () => policy.namesAlike({ ...FACTS, certificate }, learnt);
  assert.equal(alike(), undefined);
  bypasses.replace([{ id: "00000001", entry: "192.0.2.6", author: "a", comment: "", made: 0, expires: null }]);
  assert.deepEqual(alike(), ["a.shop.example"]);
});
