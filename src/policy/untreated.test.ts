import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compilePolicy } from "./evaluate.ts";
import type { Facts, Verdict } from "./facts.ts";
import type { PolicySource } from "./rule.ts";
import { faultActions } from "./test-policy.ts";

function policy(changes: Partial<PolicySource> = {}) {
  return compilePolicy({
    default: "decrypt",
    versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "bypass" },
    lists: { bypass: [], decrypt: [] },
    rules: [],
    certificate: faultActions("drop"),
    clientCertificate: { action: "bypass", for: 3_600_000 },
    ...changes,
  });
}

const PLAIN: Facts = {
  ...{ listener: "proxy", client: { address: "10.0.0.9", port: 51000 }, connectHost: null },
  server: { address: "192.0.2.5", port: 25 },
};
const TUNNEL: Facts = { ...PLAIN, connectHost: "www.example.com", upgraded: true };
const HELLO: Facts = { ...PLAIN, sni: "www.example.com", versions: [0x0303] };

const line = (verdict: Verdict | undefined) => verdict && `${verdict.action} by ${verdict.rule}: ${verdict.reason}`;
const rule = (name: string, match: PolicySource["rules"][number]["match"], more: object) =>
  ({ name, match, action: "decrypt", ...more }) as PolicySource["rules"][number];

describe("A session that is not TLS", () => {
  test("Passes unless the policy says otherwise", () => {
    assert.equal(policy().onNotTls(PLAIN), undefined);
    assert.equal(policy({ notTls: "pass", default: "drop" }).onNotTls(PLAIN), undefined);
    assert.equal(line(policy({ notTls: "drop" }).onNotTls(PLAIN)), "drop by notTls: Not TLS: policy.notTls is drop");
  });

  test("Has the action of the server's port, of which the first counts", () => {
    const ports = [
      { ports: [143, "20-30"], notTls: "drop" as const },
      { ports: [25], notTls: "pass" as const },
    ];
    assert.equal(
      line(policy({ ports }).onNotTls(PLAIN)),
      "drop by notTls: Not TLS: policy.ports drops what is not TLS",
    );
    assert.equal(policy({ notTls: "drop", ports: [{ ports: [25], notTls: "pass" }] }).onNotTls(PLAIN), undefined);
    assert.equal(policy({ ports: [{ ports: [25], undecryptable: "drop" }] }).onNotTls(PLAIN), undefined);
  });

  test("Has the action of its rule before all others", () => {
    const mail = rule("mail", { port: [25] }, { notTls: "drop" });
    const ports = [{ ports: [25], notTls: "pass" as const }];
    assert.equal(
      line(policy({ rules: [mail], ports }).onNotTls(PLAIN)),
      "drop by mail: Not TLS: The rule drops what is not TLS",
    );
    const other = rule("other", { host: ["www.example.com"] }, {});
    assert.match(line(policy({ rules: [mail, other] }).onNotTls(TUNNEL)) ?? "", /^drop by mail/);
    const pass = rule("pass", { port: [25] }, { notTls: "pass" });
    assert.equal(policy({ rules: [pass], notTls: "drop" }).onNotTls(PLAIN), undefined);
  });

  test("Is dropped by drop rules whose conditions are known, and left alone by a bypass", () => {
    const drop = rule("no", { host: ["www.example.com"] }, { action: "drop" });
    assert.match(line(policy({ rules: [drop] }).onNotTls(TUNNEL)) ?? "", /^drop by no/);
    assert.equal(policy({ rules: [drop] }).onNotTls(PLAIN), undefined);
    const lists = { bypass: ["192.0.2.0/24"], decrypt: [] };
    assert.equal(policy({ lists, notTls: "drop" }).onNotTls(PLAIN), undefined);
    const strict = rule("strict", { port: [25] }, { action: "bypass", notTls: "drop" });
    assert.match(line(policy({ rules: [strict] }).onNotTls(PLAIN)) ?? "", /^drop by strict/);
  });
});

describe("TLS that cannot be decrypted", () => {
  const why = "The client offers no cipher suite that this node may use";
  const judge = (changes: Partial<PolicySource>) => line(policy(changes).onUndecryptable(HELLO, why));

  test("Is bypassed unless the policy says otherwise", () => {
    assert.equal(judge({}), `bypass by undecryptable: ${why}; policy.undecryptable is bypass`);
    assert.equal(judge({ undecryptable: "drop" }), `drop by undecryptable: ${why}; policy.undecryptable is drop`);
  });

  test("Has the action of its rule, then that of the server's port", () => {
    const ports = [{ ports: [25], undecryptable: "drop" as const }];
    assert.equal(judge({ ports }), `drop by undecryptable: ${why}; policy.ports says drop`);
    const old = rule("old", { host: ["www.example.com"] }, { undecryptable: "bypass" });
    assert.equal(judge({ ports, rules: [old] }), `bypass by old: ${why}; its rule says bypass`);
  });
});
