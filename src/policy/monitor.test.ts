import assert from "node:assert/strict";
import { test } from "node:test";
import { compilePolicy } from "./evaluate.ts";
import { monitor } from "./monitor.ts";
import { networkRows } from "./network-rows.ts";
import type { PolicySource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";

const SOURCE: PolicySource = {
  default: "decrypt",
  monitor: true,
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "drop", aboveMax: "drop" },
  lists: { bypass: ["bank.example"], decrypt: [] },
  rules: [
    { name: "no", match: { host: ["no.example"] }, action: "drop" },
    { name: "net", match: { server: ["192.0.2.9"] }, action: "drop" },
    { name: "yes", match: { host: ["yes.example"] }, action: "decrypt", tools: ["ips"] },
  ],
  certificate: faultActions("drop"),
  clientCertificate: { action: "bypass", for: 3_600_000 },
};
const policy = monitor(compilePolicy(SOURCE));

const SYN = {
  listener: "proxy",
  client: { address: "10.0.0.9", port: 51000 },
  server: { address: "192.0.2.5", port: 443 },
};
const HELLO = { ...SYN, sni: "www.example", connectHost: null, versions: [0x0304] };
const CERTIFICATE = { names: ["www.example"], issuer: "CN=R3", faults: [] };

test("What would be dropped is bypassed in the same phase, and the verdict says what it stands for", () => {
  const onNetwork = policy.onNetwork({ ...SYN, server: { address: "192.0.2.9", port: 443 } });
  assert.deepEqual(onNetwork, {
    ...{ action: "bypass", phase: "network", rule: "monitor", provisional: false },
    reason: "Monitor mode: without it, the verdict would be drop",
    instead: { action: "drop", phase: "network", rule: "net", reason: "The rule's conditions hold: server" },
  });
  const onHello = policy.onHello({ ...HELLO, sni: "no.example" });
  assert.deepEqual([onHello?.action, onHello?.instead?.rule], ["bypass", "no"]);
  const old = policy.onHello({ ...HELLO, versions: [0x0301] });
  assert.deepEqual([old?.action, old?.instead?.action, old?.instead?.rule], ["bypass", "drop", "versions"]);
  assert.equal(policy.serverBelowMin(HELLO).instead?.action, "drop");
});

test("What would be decrypted goes on until the certificate is known, and is bypassed then", () => {
  assert.equal(policy.onHello(HELLO), undefined);
  const provisional = policy.onHello({ ...HELLO, sni: "yes.example" });
  assert.deepEqual([provisional?.action, provisional?.instead], ["decrypt", undefined]);
  const last = policy.onCertificate({ ...HELLO, certificate: CERTIFICATE });
  assert.deepEqual([last.action, last.instead?.action, last.instead?.rule], ["bypass", "decrypt", "default"]);
  const faulty = policy.onCertificate({ ...HELLO, certificate: { ...CERTIFICATE, faults: ["expired"] } });
  assert.deepEqual([faulty.action, faulty.instead?.action], ["bypass", "drop"]);
});

test("A server leg that failed has nothing left to wait for", () => {
  const verdict = policy.verdictSoFar({ ...HELLO, sni: "yes.example" });
  assert.deepEqual([verdict.action, verdict.instead?.action, verdict.tools], ["bypass", "decrypt", ["ips"]]);
});

test("What would be bypassed anyway stays as it is", () => {
  const verdict = policy.onHello({ ...HELLO, sni: "bank.example" });
  assert.deepEqual([verdict?.rule, verdict?.instead], ["bypass list", undefined]);
});

test("The kernel hands over to the node what it would drop", () => {
  assert.deepEqual(networkRows(SOURCE), [{ name: "net", action: "decrypt", server: ["192.0.2.9"] }]);
});
