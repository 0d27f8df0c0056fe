import assert from "node:assert/strict";
import { test } from "node:test";
import { BLAMES, OUTCOMES } from "../vocabulary.ts";
import { CAUSES } from "./causes.ts";
import type { Session } from "./record.ts";
import { remedyFor, TROUBLES } from "./remedies.ts";
import { openSession } from "./session.ts";
import { Top } from "./top.ts";
import { Troubles } from "./trouble.ts";

function ended(id: string, news: Partial<Session>, address = "192.0.2.7"): Session {
  const client = { address, port: 50_000 };
  const birth = { id, worker: 0, listener: "proxy", mode: "explicit", client, server: null } as const;
  const start = 1_000 + Number(id);
  return { ...openSession({ ...birth, state: "EST:INIT:INIT:INIT" }, start), end: start + 5, ...news };
}

const REFUSED = { outcome: "clientRefusedCertificate", cause: "unknown_ca", blame: "client" } as const;
const EXPIRED = { outcome: "dropped", cause: "expired", blame: "server" } as const;

test("Failures are put together by host and cause, the last first, with clients, times and what to do", () => {
  const troubles = new Troubles();
  troubles.add(ended("9", { sni: "old.example", ...EXPIRED }));
  for (const [id, address] of [
    ["8", "10.0.0.1"],
    ["5", "10.0.0.2"],
    ["3", "10.0.0.3"],
    ["2", "10.0.0.1"],
  ] as const) {
    troubles.add(ended(id, { sni: "www.example.com", ...REFUSED }, address));
  }
  // No trouble: a rule of the policy, and a client that asked for nothing.
  troubles.add(ended("1", { sni: "ads.example", outcome: "dropped", cause: "rule" }));
  troubles.add(ended("1", { outcome: "clientFailed", cause: "leftEarly", blame: "client" }));
  const [first, second, ...none] = troubles.answer();
  assert.deepEqual(none, []);
  assert.deepEqual([first?.host, first?.cause, first?.sessions], ["old.example", "expired", 1]);
  assert.deepEqual(
    { ...second, rule: undefined },
    {
      ...{ host: "www.example.com", ...REFUSED, sessions: 4, clients: 3, first: 1_007, last: 1_013, example: "8" },
      clientExamples: ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
      ...{ rule: undefined, server: null },
      remedy: "3 clients do not trust the CA: see trust.md, or bypass www.example.com.",
    },
  );
});

test("A client that is warned of a server's faults, or shown the server's own certificate, gets another remedy", () => {
  const remedy = (authority: "secondary" | "inbound") =>
    remedyFor({ ...REFUSED, host: "a.example", clients: 1, authority }) ?? "";
  assert.match(remedy("secondary"), /^The server's own certificate has faults, so 1 client is warned/);
  assert.match(remedy("inbound"), /^1 client does not take the certificate that the node holds for a\.example/);
});

test("Whatever failed has a remedy, and what passed has none", () => {
  const facts = { host: "a.example", clients: 2, authority: null };
  const benign: readonly string[] = ["leftEarly", "nodeStopped", "endedByOperator"];
  for (const outcome of OUTCOMES) {
    for (const cause of [...CAUSES, null]) {
      const remedy = remedyFor({ ...facts, outcome, cause });
      if (outcome === "dropped") continue;
      const wanted = TROUBLES.includes(outcome) && (outcome === "clientRefusedCertificate" || !benign.includes(cause!));
      assert.equal(remedy !== undefined, wanted, `${outcome} ${cause}`);
      if (remedy !== undefined) assert.match(remedy, /^[^{}]+[.:)]$/);
    }
  }
  assert.equal(remedyFor({ ...facts, outcome: "dropped", cause: "rule" }), undefined);
  assert.equal(BLAMES.length, 4);
});

test("Sessions are counted by what they have in common, with their failures and bytes", () => {
  const top = new Top("host");
  const leg = { version: "TLSv1.3", received: 10, sent: 100 };
  for (const id of ["1", "2", "3"]) top.add(ended(id, { sni: "a.example", outcome: "decrypted", clientLeg: leg }));
  top.add(ended("4", { sni: "b.example", ...REFUSED }));
  assert.deepEqual(top.answer(0, 1), {
    ...{ by: "host", since: 0, sessions: 4, without: 0, others: 1 },
    rows: [{ key: "a.example", sessions: 3, failed: 0, received: 30, sent: 300, last: 1_003 }],
  });
  const versions = new Top("version");
  versions.add(ended("1", { clientLeg: leg }));
  versions.add(ended("2", REFUSED));
  const { rows, without } = versions.answer(0, 10);
  assert.deepEqual([rows.map(({ key }) => key), without], [["TLSv1.3"], 1]);
});
