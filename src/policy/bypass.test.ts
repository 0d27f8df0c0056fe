import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bypass, BypassTable, bypassOfRule, readBypassEntry, reasonOfBypass, ruleOfBypass } from "./bypass.ts";
import { compilePolicy, type Policy } from "./evaluate.ts";
import { explain, order } from "./explain.ts";
import { monitor } from "./monitor.ts";
import type { PolicySource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";

const SOURCE: PolicySource = {
  default: "decrypt",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
  lists: { bypass: ["listed.example"], decrypt: ["strict.example", "192.0.2.66"] },
  rules: [
    { name: "blocked", match: { host: ["*.blocked.example"] }, action: "drop" },
    { name: "no way", match: { server: ["198.51.100.0/24"] }, action: "drop" },
    { name: "by hand", match: { host: ["rule.example"] }, action: "bypass" },
  ],
  certificate: faultActions("drop"),
  clientCertificate: { action: "bypass", for: 3_600_000 },
};

function bypassed(...entries: string[]): readonly Bypass[] {
  return entries.map((entry, index) => ({
    id: `0000000${index}`,
    entry,
    author: "alice",
    comment: "pins its key",
    made: 0,
    expires: Date.UTC(2026, 10, 29, 12),
  }));
}

function policyWith(...entries: string[]): { readonly policy: Policy; readonly table: BypassTable } {
  const table = new BypassTable();
  table.replace(bypassed(...entries));
  return { policy: compilePolicy(SOURCE, table), table };
}

const SYN = { listener: "web", client: { address: "10.0.0.9", port: 5 }, server: { address: "192.0.2.5", port: 443 } };
const helloTo = (sni: string | null) => ({ ...SYN, sni, connectHost: null, versions: [0x0304] });
const certificate = { names: ["app.example"], issuer: "CN=R3", faults: [] };

test("A bypass of a host holds from the sni phase on, by its own name, and ends when it is taken away", () => {
  const { policy, table } = policyWith("app.example", "*.apps.example");
  for (const host of ["app.example", "APP.example.", "a.apps.example", "a.b.apps.example"]) {
    const { action, phase, rule, reason } = policy.onHello(helloTo(host))!;
    assert.deepEqual([action, phase], ["bypass", "sni"], host);
    assert.match(rule, /^bypass 0000000[01]$/);
    assert.match(reason, /^alice bypasses \S+ until 2026-11-29 12:00:00 UTC: pins its key$/);
  }
  for (const host of ["apps.example", "evilapp.example", "app.example.evil"])
    assert.equal(policy.onHello(helloTo(host)), undefined, host);
  table.replace([]);
  assert.equal(policy.onHello(helloTo("app.example")), undefined);
});

test("A bypass of addresses holds in the network phase, for IPv4 and IPv6", () => {
  const { policy } = policyWith("192.0.2.0/24", "2001:db8::/32", "203.0.113.7-203.0.113.9");
  const to = (address: string) => policy.onNetwork({ ...SYN, server: { address, port: 443 } })?.rule;
  assert.equal(to("192.0.2.5"), "bypass 00000000");
  assert.equal(to("::ffff:192.0.2.5"), "bypass 00000000");
  assert.equal(to("2001:db8::1"), "bypass 00000001");
  assert.equal(to("203.0.113.8"), "bypass 00000002");
  assert.equal(to("203.0.113.10"), undefined);
});

test("Drop rules come before a bypass, and so does the bypass list; the decrypt list and other rules come after it", () => {
  const { policy } = policyWith(
    "www.blocked.example",
    "198.51.100.7",
    "listed.example",
    "strict.example",
    "rule.example",
  );
  const rule = (host: string) => policy.onHello(helloTo(host))?.rule;
  assert.equal(rule("www.blocked.example"), "blocked");
  assert.equal(policy.onNetwork({ ...SYN, server: { address: "198.51.100.7", port: 443 } })?.rule, "no way");
  assert.equal(rule("listed.example"), "bypass list");
  assert.equal(rule("strict.example"), "bypass 00000003");
  assert.equal(rule("rule.example"), "bypass 00000004");
});

test("Flows that name no host themselves are bypassed by all names of a good certificate, in the certificate phase", () => {
  const { policy } = policyWith("app.example");
  const judge = (names: string[], faults: typeof certificate.faults = []) => {
    const { action, phase } = policy.onCertificate({
      ...helloTo(null),
      certificate: { ...certificate, names, faults },
    });
    return `${action} ${phase}`;
  };
  assert.equal(judge(["app.example"]), "bypass certificate");
  assert.equal(judge(["app.example", "other.example"]), "decrypt certificate");
  const connect = { ...helloTo("app.example"), connectHost: "app.example", upgraded: true };
  assert.equal(policy.onHello(connect), undefined);
  assert.equal(policy.onCertificate({ ...connect, certificate }).phase, "certificate");
});

test("A name of a certificate that is bypassed is not issued with those that are decrypted", () => {
  const { policy } = policyWith("app.example");
  const names = ["shop.example", "app.example"];
  const flow = { ...helloTo("shop.example"), certificate: { ...certificate, names } };
  const nothing = { clientCertificateDemanded: false, channelBound: false, certificateRefused: false };
  assert.deepEqual(
    policy.namesAlike(flow, () => nothing),
    ["shop.example"],
  );
});

test("policy.verifyBypass asks the server of a bypassed host for its certificate too", () => {
  const { table } = policyWith("app.example", "192.0.2.9");
  const policy = compilePolicy({ ...SOURCE, verifyBypass: true }, table);
  assert.equal(policy.verifies(policy.onHello(helloTo("app.example"))!), true);
  assert.equal(policy.verifies(policy.onNetwork({ ...SYN, server: { address: "192.0.2.9", port: 443 } })!), false);
  assert.equal(monitor(policy).onHello(helloTo("app.example"))?.action, "bypass");
});

test("An explanation shows a bypass by its own name with its comment, also where a drop rule comes first", () => {
  const { policy, table } = policyWith("www.blocked.example");
  const { entries, verdict } = explain(policy, helloTo("www.blocked.example"));
  assert.equal(verdict.rule, "blocked");
  const [entry] = entries.filter(({ group }) => group === "bypasses");
  assert.deepEqual([entry?.name, entry?.truth], ["bypass 00000000", true]);
  assert.match(entry?.reason ?? "", /pins its key/);
  const shown = () => order(policy).filter(({ group }) => group === "bypasses").length;
  assert.equal(shown(), 1);
  table.replace([]);
  assert.equal(shown(), 0);
});

test("Entries have one form, and what is neither a host nor an address is refused", () => {
  const forms = {
    "WWW.Example.com.": "www.example.com",
    "*.Bücher.example": "*.xn--bcher-kva.example",
    " 10.1.2.3/8 ": "10.0.0.0/8",
    "2001:DB8:0:0::1/32": "2001:db8::/32",
    "::ffff:10.0.0.1": "10.0.0.1",
    "10.0.0.1 - 10.0.0.2": "10.0.0.1-10.0.0.2",
  };
  for (const [text, form] of Object.entries(forms)) {
    assert.equal(readBypassEntry(text), form);
    assert.equal(readBypassEntry(form), form);
  }
  for (const text of [
    "",
    "*",
    "*.",
    "https://a.example/",
    "a.example:443",
    "10.0.0.1/33",
    "10.0.0",
    "a b",
    "x".repeat(301),
  ])
    assert.equal(readBypassEntry(text), undefined, text);
});

test("A bypass without an end says so, and only its own rules have its name", () => {
  const [bypass] = bypassed("a.example");
  assert.equal(reasonOfBypass({ ...bypass!, expires: null }), "alice bypasses a.example without an end: pins its key");
  assert.equal(bypassOfRule(ruleOfBypass(bypass!)), "00000000");
  for (const rule of ["bypass list", "bypass 0000000", "bypass 00000000 ", "my bypass 00000000"])
    assert.equal(bypassOfRule(rule), undefined);
});
