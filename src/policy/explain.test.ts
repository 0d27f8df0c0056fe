import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FAULTS, type Fault } from "../vocabulary.ts";
import { compilePolicy, type Policy } from "./evaluate.ts";
import { explain, order } from "./explain.ts";
import type { CertificateFacts, Facts, Verdict } from "./facts.ts";
import type { PolicySource, RuleSource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";
import { viewOf } from "./view.ts";

const action = fc.constantFrom("decrypt", "bypass", "drop");
const refusal = fc.constantFrom("bypass", "drop");
const host = fc.constantFrom("example.com", "www.example.com", "a.b.example.com", "other.example", "203.0.113.1");
const pattern = fc.constantFrom("example.com", "*.example.com", "www.example.com", "*.example", "other.example");
const address = fc.constantFrom("10.0.0.1", "10.9.0.1", "192.0.2.5", "2001:db8::1");
const subnet = fc.constantFrom("10.0.0.0/8", "10.9.0.0/16", "192.0.2.5", "2001:db8::/32", "10.0.0.0-10.0.0.2");
const fault = fc.constantFrom(...FAULTS);
const some = <Value>(values: fc.Arbitrary<Value>) =>
  fc.option(fc.array(values, { minLength: 1, maxLength: 2 }), { nil: undefined });

const match: fc.Arbitrary<RuleSource["match"]> = fc.record({
  client: some(subnet),
  server: some(subnet),
  port: some(fc.constantFrom(443, 8443, "400-500")),
  host: some(pattern),
  issuer: some(fc.constantFrom("*one*", "CN=two")),
  fault: some(fault),
});
const source: fc.Arbitrary<PolicySource> = fc.record({
  default: action,
  versions: fc.record({
    min: fc.constantFrom("TLSv1", "TLSv1.2"),
    max: fc.constantFrom("TLSv1.2", "TLSv1.3"),
    belowMin: refusal,
    aboveMax: refusal,
  }),
  lists: fc.record({
    bypass: fc.array(fc.oneof(pattern, subnet), { maxLength: 2 }),
    decrypt: fc.array(fc.oneof(pattern, subnet), { maxLength: 2 }),
  }),
  rules: fc
    .array(fc.record({ match, action }), { maxLength: 8 })
    .map((rules) => rules.map((rule, index) => ({ name: `r${index}`, ...rule }))),
  certificate: fc.record(Object.fromEntries(FAULTS.map((name) => [name, action])) as Record<Fault, typeof action>),
  clientCertificate: fc.record({ action: refusal, for: fc.constant(1) }),
  onMissingKey: fc.constantFrom({}, { proxy: "bypass" }, { proxy: "drop" }, { other: "drop" }),
});
const certificate = fc.record({
  names: fc.array(fc.oneof(host, fc.constant("*.example.com")), { maxLength: 2 }),
  issuer: fc.constantFrom("CN=one", "CN=two"),
  faults: fc.uniqueArray(fault, { maxLength: 2 }),
});
const facts: fc.Arbitrary<Facts> = fc.record({
  listener: fc.constant("proxy"),
  client: fc.record({ address, port: fc.constant(50000) }),
  server: fc.option(fc.record({ address, port: fc.constantFrom(443, 8443) })),
  sni: fc.option(host),
  connectHost: fc.option(host),
  upgraded: fc.boolean(),
  clientCertificateDemanded: fc.boolean(),
  keyHeld: fc.boolean(),
  versions: fc.constantFrom([0x0304, 0x0303], [0x0304], [0x0302, 0x0301], undefined),
  certificate: fc.option(certificate, { nil: undefined }),
});

/** The verdict of a live flow: the first final one. */
function live(policy: Policy, flow: Facts): Verdict {
  const early = { ...flow, certificate: undefined };
  const verdicts = [
    policy.onNetwork(early),
    policy.onHello(early),
    flow.certificate ? policy.onCertificate(flow) : policy.verdictSoFar(flow),
  ];
  return (
    verdicts.find((verdict): verdict is Verdict => verdict !== undefined && !verdict.provisional) ??
    policy.verdictSoFar(flow)
  );
}

test("An explanation always has the verdict that the flow gets", () => {
  fc.assert(
    fc.property(source, facts, (written, flow) => {
      const policy = compilePolicy(written);
      assert.deepEqual(explain(policy, flow).verdict, live(policy, flow));
    }),
    { numRuns: 2000 },
  );
});

test("The step that an explanation's verdict names is the first one of its phase that is true", () => {
  fc.assert(
    fc.property(source, facts, (written, flow) => {
      const { entries, verdict } = explain(compilePolicy(written), flow);
      const named = entries.findIndex(({ name, truth }) => name === verdict.rule && truth === true);
      assert.notEqual(named, -1, `${verdict.rule} is among the entries`);
      const isWritten = /^r\d|list$/.test(verdict.rule);
      if (!isWritten || verdict.action === "decrypt") return;
      const before = entries
        .slice(0, named)
        .filter(
          ({ phase, truth, name }) => phase === entries[named]?.phase && truth === true && /^r\d|list$/.test(name),
        );
      assert.deepEqual(before, []);
    }),
    { numRuns: 2000 },
  );
});

test("A final verdict does not change when more facts become known", () => {
  fc.assert(
    fc.property(source, facts, (written, flow) => {
      const policy = compilePolicy(written);
      const known = { ...flow, clientCertificateDemanded: false };
      const hello = policy.onHello(known);
      if (hello && !hello.provisional) assert.deepEqual(policy.onCertificate(known), hello);
      const syn = policy.onNetwork(known);
      if (syn && !syn.provisional) assert.deepEqual(policy.onCertificate(known), syn);
    }),
    { numRuns: 2000 },
  );
});

test("A flow is never decrypted if one of its faults says drop and no rule excuses it", () => {
  fc.assert(
    fc.property(source, facts, (written, flow) => {
      const rules = written.rules.map((rule) => ({ ...rule, match: { ...rule.match, fault: undefined } }));
      const policy = compilePolicy({ ...written, rules, certificate: { ...written.certificate, selfSigned: "drop" } });
      const verdict = policy.onCertificate({
        ...flow,
        certificate: { names: [], issuer: "CN=one", faults: ["selfSigned"] },
      });
      assert.notEqual(verdict.action, "decrypt");
    }),
  );
});

test("The index by host and address finds the same rules as judging them one by one", () => {
  fc.assert(
    fc.property(source, facts, (written, flow) => {
      const view = viewOf(flow, true);
      const { network, sni, certificate: last, late } = compilePolicy(written).order;
      for (const stage of [network, sni, last, late]) {
        assert.equal(
          stage.first(view),
          stage.steps.find(({ judge }) => judge(view) === true),
        );
      }
    }),
    { numRuns: 2000 },
  );
});

const SOURCE: PolicySource = {
  default: "decrypt",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
  lists: { bypass: ["example.com", "10.0.0.0/8"], decrypt: ["*.example.com"] },
  rules: [
    { name: "late", match: { fault: ["expired"] }, action: "decrypt" },
    { name: "early", match: { port: [8443] }, action: "bypass" },
    { name: "never", match: { host: ["bad.example"] }, action: "drop" },
    { name: "issuer", match: { issuer: ["*"] }, action: "decrypt" },
  ],
  certificate: faultActions("drop", { unknownIssuer: "bypass", revocationUnknown: "bypass" }),
  clientCertificate: { action: "bypass", for: 1 },
};

test("The order that is shown is the order of evaluation", () => {
  const lines = order(compilePolicy(SOURCE)).map(
    ({ phase, group, name, action: says }) => `${phase} | ${group} | ${name} | ${says}`,
  );
  assert.deepEqual(lines, [
    "network | bypass list | bypass list | bypass",
    "network | bypass rules | early | bypass",
    "sni | drop rules | never | drop",
    "sni | bypass list | bypass list | bypass",
    "sni | decrypt list | decrypt list | decrypt",
    "sni | version limits | versions | bypass",
    "sni | version limits | versions | drop",
    "sni | domain validation | acme-tls/1 | bypass",
    "sni | client certificate | client certificate | bypass",
    "sni | overload | overload | bypass",
    "certificate | decrypt rules | late | decrypt",
    "certificate | issuer rules | issuer | decrypt",
    ...FAULTS.map(
      (name) => `certificate | certificate faults: ${name} | certificate fault | ${SOURCE.certificate[name]}`,
    ),
    "certificate | client certificate | client certificate | bypass",
    "certificate | default | default | decrypt",
  ]);
});

test("With a host alone, an explanation says what it cannot know", () => {
  const { entries, verdict } = explain(compilePolicy(SOURCE), { sni: "www.example.com", connectHost: null });
  const truths = Object.fromEntries(entries.map(({ phase, name, truth }) => [`${phase} ${name}`, truth]));
  assert.equal(truths["network early"], "unknown");
  assert.equal(truths["sni never"], false);
  assert.equal(truths["sni decrypt list"], true);
  assert.equal(truths["certificate late"], "unknown");
  assert.equal(truths["sni versions"], "unknown");
  assert.deepEqual([verdict.action, verdict.rule, verdict.provisional], ["decrypt", "decrypt list", true]);
});

test("Revocation is unknown until it was checked", () => {
  const rules = [{ name: "revoked", match: { fault: ["expired", "revoked"] }, action: "bypass" } as const];
  const judged = (facts: Partial<CertificateFacts>) => {
    const certificate = { names: ["www.example.com"], issuer: "CN=one", faults: [], ...facts };
    const { entries } = explain(compilePolicy({ ...SOURCE, rules }), { sni: "www.other.example", certificate });
    const line = entries.find(({ group }) => group === "certificate faults: revoked");
    return [entries.find(({ name }) => name === "revoked")?.truth, line?.truth];
  };
  assert.deepEqual(judged({ revocationOpen: true }), ["unknown", "unknown"]);
  assert.deepEqual(judged({ revocationOpen: true, faults: ["expired"] }), [true, "unknown"]);
  assert.deepEqual(judged({}), [false, false]);
  assert.deepEqual(judged({ faults: ["revoked"] }), [true, true]);
});

test("A flow that began in plaintext has its hosts judged in the certificate phase", () => {
  const { entries } = explain(compilePolicy(SOURCE), { connectHost: "bad.example", sni: null, upgraded: true });
  assert.equal(entries.find(({ name }) => name === "never")?.phase, "certificate");
});

test("2,048 rules and 10,000 list entries give the right verdicts", () => {
  const rules = Array.from({ length: 2048 }, (_, index) => ({
    name: `r${index}`,
    match: { host: [`*.h${index}.example`], port: [443] },
    action: "bypass" as const,
  }));
  const bypass = Array.from({ length: 10_000 }, (_, index) =>
    index % 2 ? `b${index}.example` : `172.${index >> 8}.${index & 255}.0/24`,
  );
  const policy = compilePolicy({ ...SOURCE, lists: { bypass, decrypt: [] }, rules });
  const flow: Facts = {
    listener: "p",
    client: { address: "10.1.1.1", port: 1 },
    server: { address: "192.0.2.1", port: 443 },
    connectHost: null,
    sni: "www.h2047.example",
  };
  assert.equal(policy.onHello(flow)?.rule, "r2047");
  assert.equal(policy.onHello({ ...flow, sni: "b9999.example" })?.rule, "bypass list");
  assert.equal(policy.onHello({ ...flow, sni: "xb9999.example" }), undefined);
  assert.equal(policy.onNetwork({ ...flow, server: { address: "172.39.14.200", port: 443 } })?.rule, "bypass list");
});
