import assert from "node:assert/strict";
import { test } from "node:test";
import { NetworkError, PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { type Answers, failure, judged, runSession, stepsAfter, tlsBytes, verdict } from "./test-stages.ts";

const web = () => tlsBytes({ alpnProtocols: ["h2", "http/1.1"] });
const page = () => "shown" as const;
const dropped = () => verdict("drop", "sni");

test("A dropped client that speaks HTTP gets a page in its TLS, by a certificate for its host alone", async () => {
  const { steps, record } = await runSession({ detect: web, onHello: dropped, page });
  assert.deepEqual(stepsAfter("policy.onHello", steps), [
    ...["pki.presentOwn for server.test by the secondary CA", "legs.own on client from ClientHello, http/1.1"],
    "pages.show on TLS on client: policy for server.test by a rule",
    ...["end: Dropped: a rule says drop", "streams.close TLS on client", "streams.close server"],
  ]);
  assert.equal(record.page, "shown");
  assert.equal(record.presented?.authority, "secondary");
  assert.equal(record.clientLeg?.version, "TLSv1.3");
});

test("A client that offers HTTP/2 alone gets its page over that, every other over HTTP/1.1", async () => {
  for (const [alpnProtocols, protocol] of [
    [["h2"], "h2"],
    [["h2", "http/1.1"], "http/1.1"],
    [["http/1.1"], "http/1.1"],
  ] as const) {
    const { steps } = await runSession({ detect: () => tlsBytes({ alpnProtocols }), onHello: dropped, page });
    assert.ok(steps.includes(`legs.own on client from ClientHello, ${protocol}`), steps.join("\n"));
  }
});

const expired = () => judged({ facts: { names: [], issuer: "", faults: ["expired"], revocationOpen: false } });
const CASES: readonly (readonly [string, Partial<Answers>, string])[] = [
  ["a certificate fault", { judge: expired, onCertificate: () => verdict("drop", "certificate") }, "certificate"],
  ["a server that refuses", { serverLeg: () => failure(ALERTS.handshake_failure) }, "handshake"],
  [
    "a server that resets",
    { serverLeg: () => failure(ALERTS.handshake_failure, { cause: "network", code: "ECONNRESET" }) },
    "handshake",
  ],
  ["a version of the server's", { serverLeg: () => failure(ALERTS.protocol_version) }, "handshake"],
];
for (const [why, answers, kind] of CASES) {
  test(`After ${why} the client gets a page, and no alert`, async () => {
    const { steps } = await runSession({ detect: web, page, ...answers });
    const text = steps.join("\n");
    assert.match(text, new RegExp(`pages.show on TLS on client: ${kind} for server.test`));
    assert.doesNotMatch(text, /legs.refuse|^reset/m);
  });
}

test("A client that does not offer HTTP, and every client where policy has no page, gets the alert", async () => {
  for (const answers of [
    { detect: () => tlsBytes({ alpnProtocols: [] }), page },
    { detect: () => tlsBytes({ alpnProtocols: ["imap"] }), page },
    { detect: web },
  ]) {
    const { steps, record } = await runSession({ onHello: dropped, ...answers });
    assert.ok(steps.includes("legs.refuse client: access_denied"), steps.join("\n"));
    assert.equal(record.page, undefined);
  }
});

test("Without a certificate for the page there is the alert; a client that refuses the certificate has had its own", async () => {
  const present = () => {
    throw new PeerError("The supervisor gave none", ALERTS.internal_error);
  };
  const alone = await runSession({ detect: web, onHello: dropped, page, present });
  assert.ok(alone.steps.includes("legs.refuse client: access_denied"));
  const clientLeg = () => failure(ALERTS.unknown_ca);
  const refused = await runSession({ detect: web, onHello: dropped, page, clientLeg });
  assert.equal(refused.record.page, "refused");
  assert.ok(!refused.steps.some((step) => /legs.refuse|pages.show/.test(step)));
  assert.ok(refused.steps.includes("end: Dropped: a rule says drop"));
});

test("A server that is not reached: the listener tells it, or lets the client in for a page in its TLS", async () => {
  const dial = () => {
    throw new NetworkError("Cannot connect", "ECONNREFUSED");
  };
  const told = await runSession({ dial, page });
  assert.ok(told.steps.includes("arrival.refuse unreachable with a page"));
  const shown = await runSession({ dial, page, admitted: web });
  assert.deepEqual(stepsAfter("arrival.admit", shown.steps), [
    ...["pages.hello client", "pki.presentOwn for server.test by the secondary CA", "legs.own on client, http/1.1"],
    "pages.show on TLS on client: unreachable for server.test by none",
    ...["end: Cannot connect", "streams.close TLS on client"],
  ]);
  assert.equal(shown.record.sni, "server.test");
  const silent = await runSession({ dial, page, admitted: () => undefined });
  assert.deepEqual(stepsAfter("pages.hello client", silent.steps), [
    ...["reset client", "end: Cannot connect", "streams.close client"],
  ]);
  const without = await runSession({ dial, admitted: web });
  assert.ok(without.steps.includes("arrival.refuse unreachable"));
});

test("A page takes one of its client's turns for handshakes, and without one there is the alert", async () => {
  const onCertificate = () => verdict("drop", "certificate");
  for (const answers of [{ onHello: dropped }, { onCertificate }]) {
    const { turns, record } = await runSession({ detect: web, page, ...answers });
    assert.deepEqual([turns, record.page], [1, "shown"]);
  }
  const turn = () => {
    throw new NetworkError("The client has 4 handshakes under way", "EBUSY");
  };
  const { steps } = await runSession({ detect: web, page, onHello: dropped, turn });
  assert.deepEqual(stepsAfter("policy.onHello", steps).slice(0, 2), [
    ...["legs.refuse client: access_denied", "end: Dropped: a rule says drop"],
  ]);
});
