import assert from "node:assert/strict";
import { test } from "node:test";
import { testSession } from "../control/test-operations.ts";
import { type Bypass, BypassTable } from "../policy/bypass.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import type { PolicySource } from "../policy/rule.ts";
import { faultActions } from "../policy/test-policy.ts";
import type { Session } from "../sessions/record.ts";
import { PreviewReporter } from "./preview-reporter.ts";

const SOURCE: PolicySource = {
  default: "decrypt",
  versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" },
  lists: { bypass: ["listed.example", "192.0.2.9"], decrypt: [] },
  rules: [{ name: "blocked", match: { host: ["blocked.example"] }, action: "drop" }],
  certificate: faultActions("drop"),
  clientCertificate: { action: "bypass", for: 3_600_000 },
};
const rule = (name: string, action: "decrypt" | "bypass" | "drop", match: object): PolicySource["rules"][number] => ({
  name,
  action,
  match: Object.fromEntries(Object.entries(match).map(([key, value]) => [key, [value].flat()])),
});

let count = 0;
const certificate = (names: string[], faults: string[] = []) => ({
  ...{ subject: "CN=x", issuer: "CN=Test Root", names, sha256: "00", notBefore: 0, notAfter: 1 },
  faults: faults.map((fault) => ({ fault, code: "X" })),
});
function past(news: Partial<Session>): Session {
  count += 1;
  const server = { address: "192.0.2.5", port: 443 };
  return testSession(`s${count}`, 1_000 + count, {
    protocol: "tls",
    server,
    end: 5_000,
    outcome: "decrypted",
    ...news,
  });
}
const decrypted = (sni: string, news: Partial<Session> = {}) =>
  past({
    ...{ sni, verdict: "decrypt", phase: "certificate", rule: "default", deployment: "outbound" },
    certificate: certificate([sni]),
    clientLeg: { version: "TLSv1.3", received: 1, sent: 1 },
    serverLeg: { version: "TLSv1.2", received: 1, sent: 1 },
    ...news,
  });
const failed = (sni: string) => decrypted(sni, { outcome: "clientRefusedCertificate" });

/** One of each kind, as the running policy decides them. */
const HISTORY: readonly Session[] = [
  decrypted("good.example"),
  failed("app.example"),
  past({ sni: "listed.example", verdict: "bypass", phase: "sni", rule: "bypass list", outcome: "bypassed" }),
  past({
    ...{ protocol: null, server: { address: "192.0.2.9", port: 443 }, outcome: "bypassed" },
    ...{ verdict: "bypass", phase: "network", rule: "bypass list" },
  }),
  past({ sni: "blocked.example", verdict: "drop", phase: "sni", rule: "blocked", outcome: "dropped" }),
  past({ sni: "old.example", verdict: "bypass", phase: "sni", rule: "versions", outcome: "bypassed" }),
  past({ sni: "mutual.example", verdict: "bypass", phase: "sni", rule: "client certificate", outcome: "bypassed" }),
  past({ sni: "pins.example", verdict: "bypass", phase: "certificate", rule: "learnt", outcome: "bypassed" }),
  past({ sni: "acme.example", verdict: "bypass", phase: "sni", rule: "acme-tls/1", outcome: "bypassed" }),
  past({ sni: "weak.example", verdict: "bypass", phase: "sni", rule: "undecryptable", outcome: "bypassed" }),
  past({
    ...{ sni: "self.example", verdict: "drop", phase: "certificate", rule: "certificate fault", outcome: "dropped" },
    certificate: certificate(["self.example"], ["selfSigned"]),
  }),
  past({ protocol: "other", outcome: "plaintext" }),
  past({ protocol: "http", connectHost: "plain.example", outcome: "plaintext" }),
  past({ protocol: null, outcome: "serverUnreachable" }),
  past({ protocol: null, verdict: "drop", phase: "network", rule: "reach", outcome: "dropped" }),
];

function preview(changes: Partial<PolicySource>, sessions = HISTORY, bypasses: readonly string[] = []) {
  const table = new BypassTable();
  const dates = { made: 0, expires: null };
  table.replace(bypasses.map((entry): Bypass => ({ id: "0000000a", entry, author: "a", comment: "c", ...dates })));
  const reporter = new PreviewReporter(0, compilePolicy(SOURCE), compilePolicy({ ...SOURCE, ...changes }, table));
  for (const session of sessions) reporter.add(session);
  return reporter.answer();
}

/** "decrypt default > bypass r: 1" */
const lines = ({ changes }: ReturnType<typeof preview>) =>
  changes.map(({ before, after, sessions, unsure }) => {
    const text = `${before.verdict} ${before.rule} > ${after.verdict} ${after.rule}: ${sessions}`;
    return unsure > 0 ? `${text}, ${unsure} unsure` : text;
  });

test("The running policy itself changes nothing, and all can be judged", () => {
  const { changed, earlier, sessions, changes, notJudged, before, after } = preview({});
  assert.deepEqual([sessions, changed, earlier, changes, notJudged], [HISTORY.length, 0, 0, [], []]);
  assert.deepEqual(before, { decrypt: 2, bypass: 7, drop: 3, none: 3 });
  assert.deepEqual(after, before);
});

test("A bypass says whom it would have helped, and what it would have hidden", () => {
  const sessions = [...HISTORY, failed("app.example"), failed("app.example"), decrypted("api.example")];
  const { covered, changes } = preview({}, sessions, ["app.example", "blocked.example"]);
  assert.deepEqual(covered, { failed: 3, good: 0, dropped: 0, live: 0 });
  assert.deepEqual(lines(preview({}, sessions, ["app.example"])), ["decrypt default > bypass bypass 0000000a: 3"]);
  assert.deepEqual(
    changes[0]?.examples.map(({ host }) => host),
    ["app.example", "app.example", "app.example"],
  );
  assert.deepEqual(preview({}, sessions, ["*.example"]).covered, { failed: 3, good: 2, dropped: 1, live: 0 });
});

test("A changed rule, list, fault action or default is shown by verdict and rule before and after", () => {
  const withRule = (...added: PolicySource["rules"]) => ({ rules: [...SOURCE.rules, ...added] });
  const cases: readonly (readonly [Partial<PolicySource>, string[]])[] = [
    [withRule(rule("r", "drop", { host: "good.example" })), ["decrypt default > drop r: 1"]],
    [withRule(rule("r", "bypass", { server: "192.0.2.5", client: "10.0.0.0/8" })), []],
    [withRule(rule("r", "drop", { issuer: "*Test Root*", host: "good.example" })), ["decrypt default > drop r: 1"]],
    [{ rules: [] }, ["drop blocked > decrypt default: 1, 1 unsure"]],
    [{ lists: { bypass: ["192.0.2.9"], decrypt: [] } }, ["bypass bypass list > decrypt default: 1, 1 unsure"]],
    [
      { certificate: { ...SOURCE.certificate, selfSigned: "bypass" } },
      ["drop certificate fault > bypass certificate fault: 1"],
    ],
    [{ clientCertificate: { action: "drop", for: 1 } }, ["bypass client certificate > drop client certificate: 1"]],
    [{ undecryptable: "drop" }, ["bypass undecryptable > drop undecryptable: 1"]],
    [{ notTls: "drop" }, ["null null > drop notTls: 2"]],
    [withRule(rule("r", "drop", { host: "plain.example" })), ["null null > drop r: 1"]],
  ];
  for (const [changes, expected] of cases) assert.deepEqual(lines(preview(changes)), expected, JSON.stringify(changes));
});

test("What the record cannot tell is counted, with the fact that is missing", () => {
  const missing = (changes: Partial<PolicySource>) =>
    preview(changes).notJudged.map(({ fact, sessions }) => `${fact} ${sessions}`);
  // The session that was bypassed on its connection might be anything now.
  assert.deepEqual(missing({ lists: { bypass: ["listed.example"], decrypt: [] } }), ["hello 1"]);
  // Both legs of what was decrypted agreed on versions that are still allowed; of the other nothing is known.
  assert.deepEqual(missing({ versions: { ...SOURCE.versions, belowMin: "drop" } }), ["versions 1"]);
  assert.deepEqual(missing({ versions: { ...SOURCE.versions, min: "TLSv1.3" } }), ["versions 3"]);
  const alpn = rule("mail", "drop", { alpn: "imap" });
  assert.deepEqual(missing({ rules: [...SOURCE.rules, alpn] }), ["alpn 7"]);
  const none = decrypted("none.example", { certificate: null, outcome: "serverFailed" });
  const answer = preview({ certificate: faultActions("bypass") }, [none]);
  assert.deepEqual([answer.changed, answer.notJudged.map(({ fact }) => fact)], [0, ["certificate"]]);
});

test("Without SNI the names of the certificate are judged, if the record has all of them", () => {
  const named = (nameCount?: number) =>
    past({
      ...{ sni: null, verdict: "decrypt", phase: "certificate", rule: "default", deployment: "outbound" },
      certificate: { ...certificate(["app.example"]), ...(nameCount && { nameCount }) },
    });
  assert.deepEqual(lines(preview({}, [named()], ["app.example"])), ["decrypt default > bypass bypass 0000000a: 1"]);
  assert.deepEqual(lines(preview({}, [named(70)], ["app.example"])), [
    "decrypt default > bypass bypass 0000000a: 1, 1 unsure",
  ]);
});

test("What a rule says of TLS that cannot be decrypted stays what decided", () => {
  const strict = { ...rule("strict", "decrypt", { host: "strict.example" }), undecryptable: "drop" } as const;
  const source = { ...SOURCE, rules: [strict] };
  const seen = past({ sni: "strict.example", verdict: "drop", phase: "sni", rule: "strict", outcome: "dropped" });
  const judge = (changed: PolicySource) => {
    const reporter = new PreviewReporter(0, compilePolicy(source), compilePolicy(changed));
    reporter.add(seen);
    return reporter.answer();
  };
  assert.equal(judge(source).earlier, 0);
  assert.deepEqual(lines(judge({ ...source, rules: [{ ...strict, undecryptable: "bypass" }] })), [
    "drop strict > bypass strict: 1",
  ]);
});

test("A session that an earlier policy decided is counted, and the change is still that of the running one", () => {
  const ended = decrypted("app.example", { verdict: "bypass", rule: "bypass 0000000b", outcome: "bypassed" });
  const { earlier, changed } = preview({ rules: [] }, [ended, ...HISTORY]);
  assert.deepEqual([earlier, changed], [1, 1]);
});

test("In monitor mode the verdict without it counts", () => {
  const monitored = { verdict: "decrypt", phase: "certificate", rule: "default", reason: "" } as const;
  const seen = decrypted("app.example", { verdict: "bypass", rule: "monitor", monitored, outcome: "bypassed" });
  assert.deepEqual(lines(preview({}, [seen], ["app.example"])), ["decrypt default > bypass bypass 0000000a: 1"]);
});

test("Sessions that began earlier are left out, and many different changes cost bounded memory", () => {
  const reporter = new PreviewReporter(1e9, compilePolicy(SOURCE), compilePolicy(SOURCE));
  for (const session of HISTORY) reporter.add(session);
  assert.equal(reporter.answer().sessions, 0);
  const rules = Array.from({ length: 2_000 }, (_, index) => rule(`r${index}`, "drop", { host: `h${index}.example` }));
  const answer = preview(
    { rules },
    [...rules.keys()].map((index) => decrypted(`h${index}.example`)),
  );
  assert.deepEqual([answer.changed, answer.changes.length], [2_000, 100]);
});
