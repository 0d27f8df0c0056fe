import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "./record.ts";
import { Reporter, weaknessOf } from "./report.ts";
import { openSession } from "./session.ts";

function ended(news: Partial<Session>): Session {
  const client = { address: "192.0.2.7", port: 50000 };
  const birth = { id: "s1", worker: 0, listener: "proxy", mode: "explicit", client, server: null } as const;
  return { ...openSession({ ...birth, state: "EST:INIT:INIT:INIT" }, 1000), end: 2000, protocol: "tls", ...news };
}

function reportOf(...sessions: readonly Partial<Session>[]) {
  const reporter = new Reporter(500);
  for (const news of sessions) reporter.add(ended(news));
  return reporter.answer([]);
}

const MONITORED = { verdict: "bypass", phase: "certificate", rule: "monitor", reason: "Monitor mode" } as const;
const WEAK = { version: "TLSv1.2", suite: "TLS_RSA_WITH_AES_128_CBC_SHA", received: 0, sent: 0 };

test("In monitor mode, the report counts what would have been", () => {
  const drop = { verdict: "drop", phase: "sni", rule: "no games", reason: "A rule" } as const;
  const decrypt = { verdict: "decrypt", phase: "certificate", rule: "default", reason: "The default" } as const;
  const report = reportOf(
    { ...MONITORED, sni: "game.example", monitored: drop },
    { ...MONITORED, sni: "game.example", monitored: drop },
    { ...MONITORED, sni: "www.example", monitored: decrypt, serverLeg: WEAK },
    { ...MONITORED, sni: "odd.example", monitored: decrypt },
    { sni: "bank.example", verdict: "bypass", phase: "sni", rule: "bypass list", reason: "The list" },
    { protocol: "other" },
    { sni: "early.example", start: 400 },
  );
  assert.deepEqual([report.sessions, report.monitored], [6, 4]);
  assert.deepEqual(report.verdicts, { decrypt: 2, bypass: 1, drop: 2, none: 1 });
  assert.deepEqual(report.failing, { sessions: 1, hosts: ["odd.example"] });
  assert.deepEqual(report.hosts[0], {
    ...{ host: "game.example", verdict: "drop", rule: "no games", reason: "A rule", sessions: 2 },
  });
  assert.deepEqual(
    report.rules.map(({ rule, sessions }) => [rule, sessions]),
    [
      ["no games", 2],
      ["default", 2],
      ["bypass list", 1],
    ],
  );
  assert.deepEqual(report.versions, [{ version: "TLSv1.2", sessions: 1 }]);
  assert.deepEqual(report.weakSuites, [
    { suite: WEAK.suite, weakness: "no forward secrecy", sessions: 1, hosts: ["www.example"] },
  ]);
});

test("However many hosts strangers name, the report has a hundred rows and counts all sessions", () => {
  const sessions = Array.from({ length: 12_000 }, (_, index) => ({ ...MONITORED, sni: `h${index}.example` }));
  const report = reportOf(...sessions);
  assert.deepEqual([report.hosts.length, report.verdicts.bypass], [100, 12_000]);
});

for (const [suite, weakness] of [
  ["TLS_AES_128_GCM_SHA256", undefined],
  ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", undefined],
  ["TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", undefined],
  ["TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", "CBC: encrypted after its MAC"],
  ["TLS_RSA_WITH_AES_256_GCM_SHA384", "no forward secrecy"],
  ["TLS_RSA_WITH_3DES_EDE_CBC_SHA", "blocks of 64 bits"],
  ["TLS_ECDHE_RSA_WITH_RC4_128_SHA", "RC4 (RFC 7465)"],
  ["TLS_RSA_WITH_NULL_SHA256", "no protection"],
  ["TLS_DH_anon_WITH_AES_128_CBC_SHA", "no protection"],
] as const) {
  test(`${suite} is ${weakness ?? "not weak"}`, () => assert.equal(weaknessOf(suite), weakness));
}
