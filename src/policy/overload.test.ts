import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compilePolicy } from "./evaluate.ts";
import { explain } from "./explain.ts";
import type { Facts, Verdict } from "./facts.ts";
import { monitor } from "./monitor.ts";
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

const HELLO: Facts = {
  ...{ listener: "proxy", client: { address: "10.0.0.9", port: 51000 } },
  ...{ server: { address: "192.0.2.5", port: 443 }, connectHost: null, sni: "www.example.com", versions: [0x0304] },
  overload: "The node is overloaded: it met overload.sessions (90%)",
};
/** Hosts of such flows are judged in the certificate phase. */
const TUNNEL: Facts = { ...HELLO, connectHost: "www.example.com", upgraded: true };
const UNNAMED: Facts = { ...HELLO, sni: null };

const said = (verdict: Verdict | undefined) => verdict && `${verdict.action} by ${verdict.rule} (${verdict.phase})`;
const rule = (action: "decrypt" | "bypass" | "drop", match: object, more: object = {}) =>
  ({ name: `a ${action} rule`, match, action, ...more }) as PolicySource["rules"][number];

describe("While the node is overloaded", () => {
  test("a session that would be decrypted is bypassed, and its reason says by which threshold", () => {
    assert.deepEqual(policy().onOverload(HELLO), {
      ...{ action: "bypass", phase: "sni", rule: "overload", provisional: false },
      reason: "The node is overloaded: it met overload.sessions (90%); overload.action is bypass",
    });
    assert.equal(said(policy({ rules: [rule("decrypt", {})] }).onOverload(HELLO)), "bypass by overload (sni)");
    assert.equal(said(policy().onOverload(TUNNEL)), "bypass by overload (certificate)");
    assert.equal(said(policy({ overload: "drop" }).onOverload(HELLO)), "drop by overload (sni)");
  });

  const DROPS: readonly (readonly [string, Partial<PolicySource>])[] = [
    ["for the host", { rules: [rule("drop", { host: ["www.example.com"] })] }],
    ["for the client", { rules: [rule("drop", { client: ["10.0.0.0/8"] })] }],
    ["for the server", { rules: [rule("drop", { server: ["192.0.2.5"] })] }],
    ["by default", { default: "drop" }],
  ];
  for (const [what, changes] of DROPS) {
    test(`a drop rule ${what} holds, also where hosts are judged with the certificate`, () => {
      for (const facts of [HELLO, TUNNEL]) assert.equal(policy(changes).onOverload(facts)?.action, "drop");
    });
  }

  test("what is on the decrypt list stays decrypted", () => {
    const lists = (entry: string) => ({ bypass: [], decrypt: [entry] });
    for (const facts of [HELLO, TUNNEL]) {
      assert.equal(policy({ lists: lists("www.example.com") }).onOverload(facts), undefined);
      assert.equal(policy({ lists: lists("192.0.2.0/24"), overload: "drop" }).onOverload(facts), undefined);
    }
  });

  test("a bypass that the certificate cannot change is that bypass, whatever overload.action is", () => {
    const source: Partial<PolicySource> = {
      rules: [rule("bypass", { host: ["www.example.com"] })],
      overload: "drop",
    };
    assert.equal(said(policy(source).onOverload(TUNNEL)), "bypass by a bypass rule (certificate)");
    assert.equal(
      said(policy({ default: "bypass", overload: "drop" }).onOverload(TUNNEL)),
      "bypass by default (certificate)",
    );
  });

  test("a bypass by default that a drop rule for the certificate may overrule is the overload's", () => {
    const source: Partial<PolicySource> = {
      default: "bypass",
      overload: "drop",
      rules: [rule("drop", { host: ["www.example.com"] })],
    };
    assert.equal(said(policy(source).onOverload(UNNAMED)), "drop by overload (certificate)");
  });

  test("where policy drops TLS that is not decrypted, it drops", () => {
    assert.equal(said(policy({ undecryptable: "drop" }).onOverload(HELLO)), "drop by overload (sni)");
    const own = rule("decrypt", { host: ["www.example.com"] }, { undecryptable: "drop" });
    const verdict = policy({ rules: [own] }).onOverload(HELLO);
    assert.equal(said(verdict), "drop by overload (sni)");
    assert.match(verdict?.reason ?? "", /its rule says drop/);
    const ports = [{ ports: [443], undecryptable: "drop" as const }];
    assert.equal(said(policy({ ports }).onOverload(HELLO)), "drop by overload (sni)");
  });

  test("in monitor mode nothing is dropped", () => {
    const verdict = monitor(policy({ overload: "drop" })).onOverload(HELLO);
    assert.deepEqual(
      [verdict?.action, verdict?.instead?.action, verdict?.instead?.rule],
      ["bypass", "drop", "overload"],
    );
    assert.equal(said(monitor(policy()).onOverload(HELLO)), "bypass by overload (sni)");
  });

  test("an explanation says so, and says nothing of it otherwise", () => {
    assert.equal(said(explain(policy(), HELLO).verdict), "bypass by overload (sni)");
    const { overload: _, ...calm } = HELLO;
    const { entries, verdict } = explain(policy(), calm);
    assert.equal(entries.find(({ name }) => name === "overload")?.truth, false);
    assert.equal(verdict.action, "decrypt");
  });
});
