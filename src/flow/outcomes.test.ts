import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestHead } from "../detect/request-head.ts";
import { NetworkError, PeerError } from "../errors.ts";
import type { LegFailure } from "../legs/leg.ts";
import { outcomeOf } from "../sessions/outcome.ts";
import type { Session } from "../sessions/record.ts";
import { openSession } from "../sessions/session.ts";
import { ALERTS } from "../wire/alert.ts";
import { type Answers, failure, judged, plainBytes, runSession, verdict } from "./test-stages.ts";

/** Each ending that the story can have, with the outcome, the cause and the blame that its record gets. */

type Row = readonly [what: string, answers: Partial<Answers>, expected: string];

const network = (code: string, side?: "client" | "server") => () => {
  throw new NetworkError(`Failed: ${code}`, code, side ? { side } : {});
};
const lost = (code: string, cause: LegFailure["cause"] = "network") =>
  failure(ALERTS.handshake_failure, { cause, code });
const drop = (rule: string, phase: "network" | "sni" | "certificate" = "sni") => verdict("drop", phase, rule);
/** Nobody has left first, unless the ending says so. */
const passing = (ending: ReturnType<Answers["relay"]>) => ({ relay: () => ({ first: undefined, ...ending }) });
const plain = { detect: () => plainBytes("hi") };
const bypassed = { onHello: () => verdict("bypass", "sni", "bypass list") };
const faulty = (fault: "expired" | "selfSigned") => ({
  judge: () => judged({ record: { ...judged().record, faults: [{ fault, code: "X" }] } }),
  onCertificate: () => drop("certificate fault", "certificate"),
});

const ROWS: readonly Row[] = [
  // Decrypted.
  ["the client closes", passing({ first: "client" }), "decrypted - -"],
  ["the server closes", passing({ first: "server" }), "decrypted - -"],
  [
    "the client resets",
    passing({ failure: { side: "client", code: "ECONNRESET", alert: undefined } }),
    "decrypted reset client",
  ],
  [
    "the server resets",
    passing({ failure: { side: "server", code: "EPIPE", alert: undefined } }),
    "decrypted reset server",
  ],
  ["idle", passing({ cut: "EIDLE" }), "decrypted idle -"],
  ["a peer does not read", passing({ cut: "ENOBUFS" }), "decrypted notReading -"],
  [
    "the server's alert behind the handshake",
    passing({ failure: { side: "server", code: "ALERT", alert: ALERTS.certificate_required } }),
    "serverFailed certificate_required server",
  ],
  [
    "a broken record of the client",
    passing({ failure: { side: "client", code: "ERR_SSL_BAD_RECORD", alert: undefined } }),
    "clientFailed protocolError client",
  ],
  ["a tool cuts it", passing({ cut: "ETOOLEND" }), "toolFailed toolEnded tool"],
  ["a tool fails meanwhile", passing({ cut: "ETOOL" }), "toolFailed toolDown tool"],
  ["evicted at a limit", passing({ cut: "EMFILE" }), "nodeFailed limit node"],
  // The client's handshake.
  ...(["bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired"] as const)
    .concat(["certificate_unknown", "unknown_ca", "access_denied", "bad_certificate_status_response"] as never)
    .map(
      (alert): Row => [alert, { clientLeg: () => failure(ALERTS[alert]) }, `clientRefusedCertificate ${alert} client`],
    ),
  [
    "the client cancels",
    { clientLeg: () => failure(ALERTS.user_canceled) },
    "clientRefusedCertificate user_canceled client",
  ],
  [
    "the client leaves at the certificate",
    { clientLeg: () => lost("EOF") },
    "clientRefusedCertificate leftAtCertificate client",
  ],
  [
    "the client resets at the certificate",
    { clientLeg: () => lost("ECONNRESET") },
    "clientRefusedCertificate leftAtCertificate client",
  ],
  [
    "another alert of the client",
    { clientLeg: () => failure(ALERTS.handshake_failure) },
    "clientFailed handshake_failure client",
  ],
  ["an alert without a name", { clientLeg: () => failure(200) }, "clientFailed otherAlert client"],
  [
    "the node refuses the client",
    { clientLeg: () => failure(ALERTS.illegal_parameter, { cause: "protocol" }) },
    "clientFailed illegal_parameter client",
  ],
  ["the client does not finish", { clientLeg: () => lost("ETIMEDOUT", "timeout") }, "clientFailed timeout client"],
  [
    "no certificate was made",
    {
      present: () => {
        throw new PeerError("None", ALERTS.internal_error);
      },
    },
    "nodeFailed noCertificate node",
  ],
  [
    "a bug",
    {
      present: () => {
        throw new Error("A bug");
      },
    },
    "nodeFailed internalError node",
  ],
  // The server's.
  [
    "the server's alert",
    { serverLeg: () => failure(ALERTS.unrecognized_name) },
    "serverFailed unrecognized_name server",
  ],
  ["the server closes in the handshake", { serverLeg: () => lost("EOF") }, "serverFailed closed server"],
  ["the server resets in the handshake", { serverLeg: () => lost("ECONNRESET") }, "serverFailed reset server"],
  ["the server does not finish", { serverLeg: () => lost("ETIMEDOUT", "timeout") }, "serverFailed timeout server"],
  [
    "the node refuses the server",
    { serverLeg: () => failure(ALERTS.decode_error, { cause: "protocol" }) },
    "serverFailed decode_error server",
  ],
  // Nobody is reached.
  ["unknown host", { resolve: network("ENOTFOUND") }, "serverUnreachable unknownHost server"],
  ["DNS is silent", { resolve: network("ETIMEDOUT") }, "serverUnreachable resolverFailed server"],
  ["DNS fails", { resolve: network("EAI_AGAIN") }, "serverUnreachable resolverFailed server"],
  ["refused", { dial: network("ECONNREFUSED") }, "serverUnreachable refused server"],
  ["silent", { dial: network("ETIMEDOUT") }, "serverUnreachable timeout server"],
  ["no route", { dial: network("EHOSTUNREACH") }, "serverUnreachable unreachable server"],
  ["the answer took another way", { dial: network("EASYMMETRIC") }, "serverUnreachable asymmetricRoute server"],
  ["no file is left", { dial: network("EMFILE") }, "nodeFailed limit node"],
  ["no port is left", { dial: network("EADDRNOTAVAIL") }, "nodeFailed noPort node"],
  [
    "gone before a late bypass",
    { onCertificate: () => verdict("bypass", "certificate"), dial: secondTime(network("ECONNREFUSED")) },
    "serverUnreachable refused server",
  ],
  // The client's beginning.
  ["the client asks for nothing", { locate: network("ECONNRESET") }, "clientFailed leftEarly client"],
  [
    "the proxy's request is malformed",
    {
      locate: () => {
        throw new PeerError("No", ALERTS.decode_error);
      },
    },
    "clientFailed decode_error client",
  ],
  ["the client is silent", { locate: network("ETIMEDOUT") }, "clientFailed timeout client"],
  [
    "the client left while the server answered",
    { serverLeg: network("ELEFT", "client") },
    "clientFailed leftEarly client",
  ],
  [
    "the server breaks before the first bytes",
    { detect: network("ECONNRESET", "server") },
    "serverFailed reset server",
  ],
  [
    "a bad request",
    { ...plain, first: () => ({ kind: "bad", status: 400, message: "no" }) },
    "clientFailed malformedRequest client",
  ],
  // Tools.
  [
    "a tool is down",
    { tools: () => ({ kind: "failed", code: "ETOOL", reason: "Dropped" }) },
    "toolFailed toolDown tool",
  ],
  [
    "a tool refuses",
    { tools: () => ({ kind: "failed", code: "ECONNREFUSED", reason: "Dropped" }) },
    "toolFailed refused tool",
  ],
  [
    "no file is left for a tool",
    { tools: () => ({ kind: "failed", code: "EMFILE", reason: "Dropped" }) },
    "nodeFailed limit node",
  ],
  [
    "a tool is down for a bypass",
    { ...bypassed, tools: () => ({ kind: "failed", code: "ETOOL", reason: "" }) },
    "toolFailed toolDown tool",
  ],
  // Bypassed: how it ended is the peers' own affair.
  ["bypassed", bypassed, "bypassed bypassList -"],
  [
    "bypassed, then reset",
    { ...bypassed, ...passing({ failure: { side: "server", code: "ECONNRESET", alert: undefined } }) },
    "bypassed bypassList -",
  ],
  ["bypassed by a rule", { onCertificate: () => verdict("bypass", "certificate", "banking") }, "bypassed rule -"],
  ["bypassed by somebody", { onHello: () => verdict("bypass", "sni", "bypass 0000000a") }, "bypassed addedBypass -"],
  [
    "the server complains that the client left",
    passing({ first: "client", failure: { side: "server", code: "ALERT", alert: ALERTS.decode_error } }),
    "decrypted - -",
  ],
  [
    "the client resets once the server has left",
    passing({ first: "server", failure: { side: "client", code: "ECONNRESET", alert: undefined } }),
    "decrypted - -",
  ],
  [
    "the server wants a certificate of a client that has said all",
    passing({ first: "client", failure: { side: "server", code: "ALERT", alert: ALERTS.certificate_required } }),
    "serverFailed certificate_required server",
  ],
  [
    "bypassed by an odd rule",
    { onCertificate: () => verdict("bypass", "certificate", "constructor") },
    "bypassed rule -",
  ],
  ["bypassed on the network", { onNetwork: () => verdict("bypass", "network") }, "bypassed rule -"],
  ["bypassed, and the tool cuts it", { ...bypassed, ...passing({ cut: "ETOOLEND" }) }, "toolFailed toolEnded tool"],
  // Plaintext.
  ["plaintext", plain, "plaintext - -"],
  [
    "plaintext, reset",
    { ...plain, ...passing({ failure: { side: "client", code: "ECONNRESET", alert: undefined } }) },
    "plaintext reset client",
  ],
  ["HTTP", { ...plain, first: () => ({ kind: "head", host: "www.test" }) as RequestHead }, "plaintext - -"],
  // Dropped.
  ["dropped by a rule", { onHello: () => drop("a rule") }, "dropped rule -"],
  ["dropped on the network", { onNetwork: () => drop("a rule", "network") }, "dropped rule -"],
  ["dropped for the client's versions", { onHello: () => drop("versions") }, "dropped versions client"],
  [
    "dropped for the server's versions",
    { onCertificate: () => drop("versions", "certificate") },
    "dropped versions server",
  ],
  ["dropped for an expired certificate", faulty("expired"), "dropped expired server"],
  ["dropped for a self-signed certificate", faulty("selfSigned"), "dropped selfSigned server"],
  [
    "dropped for a client certificate",
    { onHello: () => drop("client certificate") },
    "dropped clientCertificate server",
  ],
  ["dropped as undecryptable", { onHello: () => drop("undecryptable") }, "dropped undecryptable -"],
  ["dropped as not TLS", { ...plain, onNotTls: () => drop("notTls") }, "dropped notTls -"],
  [
    "cut while it passed",
    {
      ...bypassed,
      hellos: () => new PeerError("Another", ALERTS.illegal_parameter, { side: "client" }),
      ...passing({ cut: "ECONNRESET" }),
    },
    "dropped secondHello client",
  ],
];

test("Every ending has its outcome, its cause and the side to blame", async () => {
  for (const [what, answers, expected] of ROWS) {
    const { record, ending } = await runSession(answers);
    const { outcome, cause, blame } = outcomeOf(closed(record), ending);
    assert.equal(`${outcome} ${cause ?? "-"} ${blame ?? "-"}`, expected, what);
  }
});

/** Nobody fails the first time. */
function secondTime(fail: () => void): () => void {
  let times = 0;
  return () => {
    times += 1;
    if (times === 2) fail();
  };
}

/** The record at its end, of a session whose relay carried something. */
function closed(news: Partial<Session>): Session {
  const client = { address: "198.51.100.7", port: 50_000 };
  const start = { id: "1", worker: 0, listener: "proxy", mode: "explicit", client, server: null } as const;
  const leg = { received: 10, sent: 20 };
  const opened = openSession({ ...start, state: "EST:INIT:INIT:INIT" }, 0);
  return { ...opened, ...news, clientLeg: { ...news.clientLeg, ...leg }, end: 0, closeReason: "" };
}
