import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FAULTS } from "../vocabulary.ts";
import { CONDITION_NAMES, CONDITIONS, type ConditionName, type ConditionValue } from "./conditions.ts";
import type { Truth } from "./truth.ts";
import { type KnownFacts, viewOf } from "./view.ts";

function judge(name: ConditionName, value: ConditionValue, facts: KnownFacts): Truth {
  assert.equal(CONDITIONS[name].problem(value), undefined);
  return CONDITIONS[name].compile([value], { action: "decrypt", faults: [] })(viewOf(facts, false));
}

const certificate = { names: ["a.example"], issuer: "CN=R3, O=Let's Encrypt, C=US", faults: ["expired"] as const };

const CASES: [name: ConditionName, value: ConditionValue, facts: KnownFacts, truth: Truth][] = [
  ["client", "10.0.0.0/8", {}, "unknown"],
  ["client", "10.0.0.0/8", { client: { address: "10.1.1.1", port: 1 } }, true],
  ["client", "10.0.0.0/8", { client: { address: "::ffff:10.1.1.1", port: 1 } }, true],
  ["client", "fe80::/10", { client: { address: "fe80::1%eth0", port: 1 } }, true],
  ["server", "10.0.0.0/8", {}, "unknown"],
  ["server", "10.0.0.0/8", { server: null }, false],
  ["server", "10.0.0.0/8", { server: { address: "11.0.0.1", port: 1 } }, false],
  ["port", 443, {}, "unknown"],
  ["port", 443, { server: null }, false],
  ["port", 443, { server: { address: "11.0.0.1", port: 443 } }, true],
  ["port", "443", { server: { address: "11.0.0.1", port: 443 } }, true],
  ["port", "8000-9000", { server: { address: "11.0.0.1", port: 9000 } }, true],
  ["port", "8000-9000", { server: { address: "11.0.0.1", port: 9001 } }, false],
  ["sourcePort", 5, { client: { address: "10.1.1.1", port: 5 } }, true],
  ["listener", "proxy", {}, "unknown"],
  ["listener", "proxy", { listener: "proxy" }, true],
  ["listener", "proxy", { listener: "Proxy" }, false],
  ["vlan", 10, {}, "unknown"],
  ["vlan", 10, { vlan: "10" }, true],
  ["vlan", "100/10", { vlan: "10" }, false],
  ["vlan", "100/10", { vlan: "100/10" }, true],
  ["vlan", 10, { vlan: null }, false],
  ["vlan", "untagged", { vlan: null }, true],
  ["host", "a.example", {}, "unknown"],
  ["host", "a.example", { sni: "a.example" }, true],
  ["host", "a.example", { sni: "b.example" }, "unknown"],
  ["host", "a.example", { sni: "b.example", connectHost: null }, false],
  ["host", "a.example", { sni: null, connectHost: null }, "unknown"],
  ["host", "a.example", { sni: null, connectHost: null, certificate }, true],
  ["host", "b.example", { sni: null, connectHost: null, certificate }, false],
  ["alpn", "h2", {}, "unknown"],
  ["alpn", "h2", { alpn: [] }, false],
  ["alpn", "h2", { alpn: ["h2", "http/1.1"] }, true],
  ["alpn", "http/1.1", { alpn: ["h2"] }, false],
  ["issuer", "*", {}, "unknown"],
  ["issuer", "*", { certificate }, true],
  ["issuer", "*let's encrypt*", { certificate }, true],
  ["issuer", "let's encrypt", { certificate }, false],
  ["issuer", "CN=R3*C=US", { certificate }, true],
  ["issuer", "CN=R3*R3*", { certificate }, false],
  ["issuer", "cn=r3, o=let's encrypt, c=us", { certificate }, true],
  ["issuer", "*c=us*c=us", { certificate }, false],
  ["fault", "expired", {}, "unknown"],
  ["fault", "expired", { certificate }, true],
  ["fault", "selfSigned", { certificate }, false],
];
for (const [name, value, facts, truth] of CASES) {
  const known = JSON.stringify(facts);
  test(`The condition ${name} ${value} is ${truth} for ${known}`, () => assert.equal(judge(name, value, facts), truth));
}

const PROBLEMS: [name: ConditionName, value: ConditionValue, problem: string][] = [
  ["client", "10.0.0.0/33", 'is "10.0.0.0/33", neither an address, a subnet nor a range of addresses'],
  ["port", 70000, "is 70000, above 65535"],
  ["port", 0, "is 0, below 1"],
  ["port", -5, "is -5, below 1"],
  ["port", "9000-8000", "is 9000-8000, which ends before it begins"],
  ["port", 4.5, "is 4.5, neither a port nor a range such as 8000-9000"],
  ["port", Number.NaN, "is null, neither a port nor a range such as 8000-9000"],
  ["host", "a*b", 'is "a*b", neither a host name nor "*." and a host name'],
  ["issuer", " ", "is empty"],
  ["fault", "old", `is "old", not one of ${FAULTS.join(", ")}`],
];
for (const [name, value, problem] of PROBLEMS) {
  test(`The condition ${name} refuses ${value}`, () => assert.equal(CONDITIONS[name].problem(value), problem));
}

test("An issuer's wildcards match as a regular expression would", () => {
  const text = fc.stringMatching(/^[ab]{0,6}$/);
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), text, (parts, issuer) => {
      const pattern = parts.join("*");
      fc.pre(pattern !== "");
      const expected = new RegExp(`^${parts.join(".*")}$`).test(issuer);
      assert.equal(judge("issuer", pattern, { certificate: { ...certificate, issuer } }), expected);
    }),
    { numRuns: 500 },
  );
});

test("Any value is refused with a reason or compiles to a judge", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...CONDITION_NAMES),
      fc.oneof(fc.string(), fc.double(), fc.integer()),
      (name, value) => {
        const problem = CONDITIONS[name].problem(value);
        const purpose = { action: "decrypt", faults: [] } as const;
        if (problem === undefined)
          assert.equal(CONDITIONS[name].compile([value], purpose)(viewOf({}, false)), "unknown");
        else assert.match(problem, /^is /);
      },
    ),
  );
});

test("A bypass rule by alpn matches only clients that offer nothing else, GREASE aside", () => {
  const judge = CONDITIONS.alpn.compile(["mqtt", "x-own"], { action: "bypass", faults: [] });
  const truth = (...alpn: string[]) => judge(viewOf({ alpn }, false));
  assert.deepEqual([truth("mqtt"), truth("x-own", "mqtt"), truth("\x2a\x2a", "mqtt")], [true, true, true]);
  assert.deepEqual([truth("mqtt", "h2"), truth("h2"), truth(), truth("\x2a\x2a")], [false, false, false, false]);
});
