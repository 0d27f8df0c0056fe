import assert from "node:assert/strict";
import { test } from "node:test";
import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import { failure, runSession, stepsAfter, verdict } from "./test-stages.ts";

const refused = () => failure(ALERTS.handshake_failure);
const demanding = () => failure(ALERTS.handshake_failure, { certificateRequested: true });

/** The steps of a late bypass, from the end of the server leg on. */
const LATE_BYPASS = [
  ...["streams.close server", "state EST:SYN_SENT:INIT:INIT"],
  ...["arrival.dial 192.0.2.1 port 443", "state EST:EST:INIT:INIT"],
  ...["tools.connect bypassed", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST", "feeds.tap bypassed: bypassed"],
  "streams.relay client from ClientHello and server 2 through ips",
  ...["feeds.close", "end: The client closed the connection", "tools.release"],
  ...["streams.close client", "streams.close server", "streams.close server 2"],
];

test("A client that refuses the certificate ends the session: nothing is relayed, and the tools are left", async () => {
  const reason = "The client refused the handshake: unknown_ca";
  const { steps, record } = await runSession({ clientLeg: () => failure(ALERTS.unknown_ca, { reason }) });
  assert.deepEqual(stepsAfter("legs.client on client from ClientHello, h2", steps), [
    ...[`end: ${reason}`, "tools.release", "streams.close client", "streams.close TLS on server"],
  ]);
  assert.equal(record.presented?.authority, "primary");
});

test("A server that refuses: its alert goes on to the client, before tools and certificate", async () => {
  const { steps } = await runSession({ serverLeg: refused });
  assert.deepEqual(stepsAfter("legs.server on server", steps), [
    ...["legs.refuse client: handshake_failure"],
    ...["end: The server refused the handshake", "streams.close client", "streams.close server"],
  ]);
});

test("A server that may speak only what the node cannot is bypassed late, or dropped, as policy says", async () => {
  const refusing = { serverLeg: refused, leavesOut: () => true };
  const passed = await runSession(refusing);
  assert.deepEqual(stepsAfter("legs.server on server", passed.steps), LATE_BYPASS);
  assert.equal(passed.record.rule, "undecryptable");
  const onUndecryptable = () => verdict("drop", "sni", "undecryptable");
  const dropped = await runSession({ ...refusing, onUndecryptable });
  assert.equal(dropped.record.verdict, "drop");
  assert.ok(dropped.steps.includes("legs.refuse client: handshake_failure"));
});

test("A server cannot get out of what its certificate would decide by refusing the node", async () => {
  const { record } = await runSession({ serverLeg: refused, leavesOut: () => true, isOpen: () => true });
  assert.notEqual(record.verdict, "bypass");
});

test("A server that resets the connection in the handshake: so does the node with the client", async () => {
  const serverLeg = () => failure(ALERTS.handshake_failure, { cause: "network", code: "ECONNRESET" });
  const { steps } = await runSession({ serverLeg });
  assert.deepEqual(stepsAfter("legs.server on server", steps), [
    ...["reset client", "end: The server refused the handshake", "streams.close client", "streams.close server"],
  ]);
});

test("A server that demands a client certificate is bypassed late where policy says so, and remembered", async () => {
  const {
    steps,
    record,
    demanding: known,
  } = await runSession({
    serverLeg: demanding,
    verdictSoFar: ({ clientCertificateDemanded }) => verdict(clientCertificateDemanded ? "bypass" : "decrypt", "sni"),
  });
  assert.deepEqual(stepsAfter("legs.server on server", steps), LATE_BYPASS);
  assert.equal(record.verdict, "bypass");
  assert.deepEqual([...known], ["server.test at 192.0.2.1 port 443"]);
});

test("A server that demands a client certificate is dropped with an alert where policy says so", async () => {
  const { steps } = await runSession({
    serverLeg: demanding,
    verdictSoFar: ({ clientCertificateDemanded }) => verdict(clientCertificateDemanded ? "drop" : "decrypt", "sni"),
  });
  assert.deepEqual(stepsAfter("legs.server on server", steps).slice(0, 2), [
    ...["legs.refuse client: access_denied", "end: Dropped: a rule says drop"],
  ]);
});

test("A server that refuses with certificate_required, and did not ask for one, only says so", async () => {
  const { demanding: known, steps } = await runSession({ serverLeg: () => failure(ALERTS.certificate_required) });
  assert.deepEqual([...known], []);
  assert.ok(steps.includes("legs.refuse client: certificate_required"), steps.join("\n"));
});

test("A server that demands a client certificate after the handshake is remembered for the next session", async () => {
  const failed = { side: "server", code: "ERR_SSL", alert: ALERTS.certificate_required } as const;
  const { demanding: known, steps } = await runSession({
    relay: () => ({ reason: "The server's connection broke", failure: failed }),
  });
  assert.deepEqual([...known], ["server.test at 192.0.2.1 port 443"]);
  assert.ok(steps.includes("end: The server's connection broke"), steps.join("\n"));
});

test("The same alert from a client says nothing about the server", async () => {
  const failed = { side: "client", code: "ERR_SSL", alert: ALERTS.certificate_required } as const;
  const { demanding: known } = await runSession({
    relay: () => ({ reason: "The client's connection broke", failure: failed }),
  });
  assert.equal(known.size, 0);
});

for (const [action, expected] of [
  ["bypass", LATE_BYPASS[0]],
  ["drop", "legs.refuse client: protocol_version"],
] as const) {
  test(`A server that speaks too old a version: policy says ${action}`, async () => {
    const { steps } = await runSession({
      serverLeg: () => failure(ALERTS.protocol_version),
      serverBelowMin: () => verdict(action, "sni", "versions"),
    });
    assert.equal(stepsAfter("legs.server on server", steps)[0], expected);
  });
}

test("A session that policy bypasses by what is known is bypassed when the server refuses, without another question", async () => {
  const { steps } = await runSession({ serverLeg: refused, verdictSoFar: () => verdict("bypass", "sni") });
  assert.deepEqual(stepsAfter("legs.server on server", steps), LATE_BYPASS);
});

test("A server that refuses is not bypassed while its certificate might still have decided otherwise", async () => {
  const { steps } = await runSession({
    serverLeg: refused,
    isOpen: () => true,
    verdictSoFar: () => verdict("bypass", "certificate", "default"),
  });
  assert.ok(steps.includes("legs.refuse client: handshake_failure"), steps.join("\n"));
});

test("A bypassed session is cut when its hellos do not agree with the verdict", async () => {
  for (const onHello of [() => verdict("bypass", "sni"), () => undefined]) {
    const { steps, record } = await runSession({
      onHello,
      onCertificate: () => verdict("bypass", "certificate"),
      hellos: () => new PeerError("The second hello names another host", 47, { side: "client" }),
      relay: () => ({ reason: "" }),
    });
    assert.ok(steps.includes("end: Dropped: The second hello names another host"), steps.join("\n"));
    assert.deepEqual([record.verdict, record.phase, record.rule], ["drop", "sni", "second hello"]);
    assert.ok(steps.includes("reset client"), steps.join("\n"));
  }
});

test("A server that was dialled again for its leg is recorded with the new connection, and both are closed", async () => {
  const seen = { address: "203.0.113.1", port: 40_001 };
  const { steps, record } = await runSession({
    async serverLeg({ redial }) {
      const server = await redial();
      return { leg: refused(), server: Object.assign(server, { local: () => seen }) };
    },
  });
  assert.deepEqual(record.seenAs, seen);
  assert.deepEqual(stepsAfter("legs.server on server", steps), [
    ...["arrival.dial 192.0.2.1 port 443", "legs.refuse client: handshake_failure"],
    "end: The server refused the handshake",
    ...["streams.close client", "streams.close server", "streams.close server 2"],
  ]);
});
