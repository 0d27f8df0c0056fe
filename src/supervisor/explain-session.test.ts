import assert from "node:assert/strict";
import { test } from "node:test";
import { testSession } from "../control/test-operations.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import type { PolicySource } from "../policy/rule.ts";
import { faultActions } from "../policy/test-policy.ts";
import type { Session } from "../sessions/record.ts";
import type { ActiveConfig } from "./active-config.ts";
import { explainSession } from "./explain-session.ts";

const SOURCE: PolicySource = {
  default: "decrypt",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
  lists: { bypass: [], decrypt: [] },
  rules: [],
  certificate: faultActions("drop"),
  clientCertificate: { action: "bypass", for: 3_600_000 },
};
const KNOWN = {
  ...{ upgraded: false, alpn: "h2,http/1.1", versions: "TLSv1.3,TLSv1.2", keyHeld: false },
  ...{ clientCertificateDemanded: false, channelBound: false, certificateRefused: false },
};
const DECRYPTED: Partial<Session> = {
  ...{ protocol: "tls", sni: "www.example.com", server: { address: "192.0.2.5", port: 443 }, facts: KNOWN },
  ...{ verdict: "decrypt", phase: "certificate", rule: "default", reason: "No rule decided", end: 9 },
  ...{ outcome: "clientRefusedCertificate", cause: "unknown_ca", blame: "client", deployment: "outbound" },
  certificate: {
    ...{ subject: "CN=www", issuer: "CN=Root", names: ["www.example.com"], sha256: "00", notBefore: 0, notAfter: 1 },
    faults: [],
  },
};

function explained(news: Partial<Session>, policy: Partial<PolicySource> = {}) {
  const active = { policy: compilePolicy({ ...SOURCE, ...policy }) } as ActiveConfig;
  return explainSession({ active }, testSession("a", 5, { ...DECRYPTED, ...news }));
}

const rule = (match: PolicySource["rules"][number]["match"]) => ({
  rules: [{ name: "r", match, action: "bypass" as const }],
});

test("A session is explained by what policy saw, with what was decided then", () => {
  const { decided, facts, today, differs, unsure } = explained({});
  assert.deepEqual(decided, {
    ...{ verdict: "decrypt", phase: "certificate", rule: "default", reason: "No rule decided", monitored: null },
    ...{ outcome: "clientRefusedCertificate", cause: "unknown_ca", blame: "client", closeReason: null },
  });
  assert.deepEqual([today?.verdict, today?.rule, differs, unsure], ["decrypt", "default", false, null]);
  const seen = Object.fromEntries(facts.map(({ name, value }) => [name, value]));
  assert.deepEqual(
    [seen["sni"], seen["server"], seen["versions"], seen["alpn"], seen["certificateFaults"], seen["vlan"]],
    ["www.example.com", "192.0.2.5 port 443", "TLSv1.3, TLSv1.2", "h2, http/1.1", "none", undefined],
  );
});

test("Today's policy decides by the same facts, also by what only the ClientHello said", () => {
  const host = explained({}, rule({ host: ["www.example.com"] }));
  assert.deepEqual([host.today?.verdict, host.today?.rule, host.differs], ["bypass", "r", true]);
  assert.ok(host.today?.entries.some(({ name, truth }) => name === "r" && truth === true));
  const odd = explained({ facts: { ...KNOWN, alpn: "a%2Cb%252C" } }, rule({ alpn: ["a,b%2C"] }));
  assert.deepEqual([odd.today?.verdict, odd.unsure], ["bypass", null]);
  const alpn = explained({}, rule({ alpn: ["h2", "http/1.1"] }));
  assert.deepEqual([alpn.today?.verdict, alpn.differs, alpn.unsure], ["bypass", true, null]);
  const versions = { ...SOURCE.versions, belowMin: "drop" as const };
  const old = { facts: { ...KNOWN, versions: "TLSv1" }, verdict: "bypass", phase: "sni", rule: "versions" } as const;
  assert.deepEqual(explained(old, { versions }).today?.verdict, "drop");
  const wider = explained({ ...old, certificate: null }, { versions: { ...SOURCE.versions, min: "TLSv1" } });
  assert.deepEqual([wider.today?.verdict, wider.differs], ["decrypt", true]);
  assert.match(wider.unsure ?? "", /certificate was not seen/);
});

test("What an earlier version recorded without these facts says what is missing", () => {
  const { facts: _, ...before } = DECRYPTED;
  const active = { policy: compilePolicy({ ...SOURCE, ...rule({ alpn: ["h2"] }) }) } as ActiveConfig;
  const { today, unsure } = explainSession({ active }, testSession("a", 5, before));
  assert.deepEqual([today?.verdict], ["decrypt"]);
  assert.match(unsure ?? "", /ALPN are not in the record/);
});

test("A session without a verdict, and one that monitor mode let pass, are compared by what policy says", () => {
  const plain = explained({
    ...DECRYPTED,
    protocol: "other",
    verdict: null,
    phase: null,
    rule: null,
    certificate: null,
  });
  assert.deepEqual([plain.today?.verdict, plain.differs], [null, false]);
  const monitored = { verdict: "decrypt", phase: "certificate", rule: "default", reason: "x" } as const;
  const passed = explained({ verdict: "bypass", rule: "monitor", monitored });
  assert.deepEqual([passed.differs, passed.decided.monitored], [false, monitored]);
});
