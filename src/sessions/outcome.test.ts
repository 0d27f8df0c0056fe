import assert from "node:assert/strict";
import { test } from "node:test";
import { VERSIONS } from "../vocabulary.ts";
import { CAUSES, causeOf } from "./causes.ts";
import { type Ending, outcomeOf } from "./outcome.ts";
import type { Session } from "./record.ts";
import { finish, openSession } from "./session.ts";

const CLIENT = { address: "192.0.2.7", port: 50_000 };
const BIRTH = { id: "a", worker: 0, listener: "proxy", mode: "explicit", client: CLIENT, server: null } as const;
const OPENED = openSession({ ...BIRTH, state: "EST:INIT:INIT:INIT" }, 1_000);
const PRESENTED = { authority: "primary", serial: "1", sha256: "aa", keyType: "ecdsa" } as const;
const NO_BYTES = { received: 0, sent: 0 };

/** A session that is decrypted, in one version, and has carried nothing. */
function decrypted(version: string, news: Partial<Session> = {}): Session {
  return {
    ...OPENED,
    ...{ state: "EST:EST:INIT:INIT", protocol: "tls", verdict: "decrypt", phase: "certificate", rule: "default" },
    ...{ presented: PRESENTED, clientLeg: { ...NO_BYTES, version }, serverLeg: { ...NO_BYTES, version } },
    ...news,
  };
}

function shown(session: Session, ending?: Ending): string {
  const { outcome, cause, blame } = outcomeOf(session, ending);
  return `${outcome} ${cause ?? "-"} ${blame ?? "-"}`;
}

const leaves = (code: string): Ending => ({ by: "client", code, carried: true });

test("A client may refuse the certificate after the handshake, in every version", () => {
  for (const version of Object.keys(VERSIONS)) {
    const session = decrypted(version, { end: 1_050, lastActivity: 1_000 });
    for (const alert of ["bad_certificate", "unknown_ca", "certificate_unknown", "certificate_expired"]) {
      assert.equal(shown(session, leaves(alert)), `clientRefusedCertificate ${alert} client`, version);
    }
    for (const code of ["EOF", "ECONNRESET"]) {
      assert.equal(shown(session, leaves(code)), "clientRefusedCertificate leftAfterHandshake client", version);
    }
  }
});

test("A client that has used the session, or came back to one, or was idle, has refused nothing", () => {
  const leg = { version: "TLSv1.3", ...NO_BYTES };
  const used = decrypted("TLSv1.3", { end: 1_050, clientLeg: { ...leg, received: 1 } });
  const h2 = decrypted("TLSv1.3", { end: 1_050, clientLeg: { ...leg, sent: 50, alpn: "h2" } });
  assert.equal(shown(h2, leaves("EOF")), "clientRefusedCertificate leftAfterHandshake client");
  const told = decrypted("TLSv1.3", { end: 1_050, clientLeg: { ...leg, sent: 1 } });
  const resumed = decrypted("TLSv1.3", { end: 1_050, clientLeg: { ...leg, resumed: true } });
  const idle = decrypted("TLSv1.3", { end: 9_000 });
  for (const session of [used, told, resumed, idle]) assert.equal(shown(session, leaves("EOF")), "decrypted - -");
  assert.equal(
    shown(decrypted("TLSv1.3", { end: 1_050 }), { by: "server", code: "EOF", carried: true }),
    "decrypted - -",
  );
  assert.equal(shown(used, leaves("unknown_ca")), "clientFailed unknown_ca client");
  // What came before STARTTLS was not said to the certificate.
  const startTls = { protocol: "SMTP", outcome: "upgraded", at: 1_010 } as const;
  assert.equal(shown({ ...used, startTls }, leaves("unknown_ca")), "clientRefusedCertificate unknown_ca client");
});

test("A node that stops ends sessions that passed as what they were, and others as its own failure", () => {
  const stopped: Ending = { by: "node", code: "nodeStopped" };
  const ended: Ending = { by: "client", code: "ECANCELED" };
  assert.equal(shown(decrypted("TLSv1.2"), ended), "decrypted endedByOperator node");
  assert.equal(shown(decrypted("TLSv1.2"), stopped), "decrypted nodeStopped node");
  assert.equal(shown({ ...OPENED, verdict: "bypass" }, stopped), "bypassed nodeStopped node");
  assert.equal(shown({ ...OPENED, protocol: "other" }, stopped), "plaintext nodeStopped node");
  assert.equal(shown(OPENED, stopped), "nodeFailed nodeStopped node");
  const over = finish(decrypted("TLSv1.2"), "The worker ended", 2_000, { by: "node", code: "workerEnded" });
  assert.deepEqual([over.outcome, over.cause, over.blame], ["nodeFailed", "workerEnded", "node"]);
});

test("Refused and withdrawn STARTTLS stay plaintext, and say so", () => {
  const end: Ending = { by: "client", code: "EOF", carried: true };
  const with_ = (outcome: "refused" | "withdrawn") => ({
    ...OPENED,
    ...({ protocol: "other", startTls: { protocol: "SMTP", outcome, at: null } } as const),
  });
  assert.equal(shown(with_("refused"), end), "plaintext startTlsRefused server");
  assert.equal(shown(with_("withdrawn"), end), "plaintext startTlsWithdrawn server");
});

test("A record of an earlier version says by itself how its session ended", () => {
  const alert = { ...NO_BYTES, alertReceived: "unknown_ca" };
  const tls = { protocol: "tls", state: "EST:EST:INIT:INIT" } as const;
  const shaken = { ...OPENED, ...tls, verdict: "decrypt", presented: PRESENTED } as const;
  const serverLeg = { ...NO_BYTES, version: "TLSv1.2" };
  const rows: readonly (readonly [Session, string])[] = [
    [decrypted("TLSv1.2", { clientLeg: { version: "TLSv1.2", received: 5, sent: 5 } }), "decrypted - -"],
    [
      decrypted("TLSv1.3", { clientLeg: { version: "TLSv1.3", ...alert } }),
      "clientRefusedCertificate unknown_ca client",
    ],
    [{ ...shaken, serverLeg, clientLeg: alert }, "clientRefusedCertificate unknown_ca client"],
    [{ ...shaken, serverLeg }, "clientRefusedCertificate leftAtCertificate client"],
    [
      { ...shaken, presented: null, serverLeg: { ...NO_BYTES, alertReceived: "handshake_failure" } },
      "serverFailed handshake_failure server",
    ],
    [{ ...OPENED, verdict: "bypass", rule: "bypass list" }, "bypassed bypassList -"],
    [{ ...OPENED, verdict: "drop", rule: "banking" }, "dropped rule -"],
    [{ ...OPENED, protocol: "other", state: "EST:EST:EST:EST" }, "plaintext - -"],
    [{ ...OPENED, state: "EST:SYN_SENT:INIT:INIT" }, "serverUnreachable networkError server"],
    [{ ...OPENED, ...tls }, "clientFailed leftEarly client"],
  ];
  for (const [session, expected] of rows) assert.equal(shown({ ...session, end: 1_010 }), expected);
});

test("Every code has a cause of the fixed set, whatever it is", () => {
  for (const code of ["ERR_SSL_NO_SHARED_CIPHER", "alert_7", "ENOENT", "", "constructor", "__proto__"]) {
    assert.ok(CAUSES.includes(causeOf(code)), code);
  }
});
