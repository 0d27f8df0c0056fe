import assert from "node:assert/strict";
import { test } from "node:test";
import type { Dialogue } from "../detect/starttls/dialogue.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import { NetworkError, PeerError } from "../errors.ts";
import type { TimedAgreement } from "../streams/conversation.ts";
import { ALERTS } from "../wire/alert.ts";
import { type Answers, failure, nameOf, plainBytes, runSession, stepsAfter, tlsBytes, verdict } from "./test-stages.ts";

function watch(news: Partial<Watch> = {}): Watch {
  const own = { spoken: undefined, likely: true, awaiting: false, inBody: false, beyond: false };
  return { feed: () => ({ kind: "more" }), ...own, ...news };
}

const STARTTLS: TimedAgreement = { protocol: "SMTP", next: "tls", script: [], at: 7 };
const CONNECT: TimedAgreement = {
  ...{ protocol: "CONNECT", next: "anything", script: [], at: 7 },
  target: { host: "inner.test", port: 443 },
};

/** Plaintext on a watched port, then TLS. */
const SMTP: Partial<Answers> = {
  detect: (time) => (time === 1 ? plainBytes("EHLO", "220") : tlsBytes()),
  watch,
  next: () => STARTTLS,
};
const BEFORE_TLS = [
  "upgrades.watch port 443: EHLO",
  ...["tools.connect decrypted", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
  "upgrades.open client and server",
  "feeds.tap decrypted: plaintext at first",
  "streams.relay client from EHLO and server from 220 through ips",
  "streams.detect client and server",
];

test("STARTTLS: one relay from the first byte on, in which TLS replaces the plaintext", async () => {
  const { steps, record } = await runSession(SMTP);
  assert.deepEqual(stepsAfter("streams.detect client and server", steps), [
    ...BEFORE_TLS,
    "conversation.hold",
    ...["policy.onHello", "legs.server on server", "pki.judge", "policy.onCertificate"],
    ...["pki.present", "legs.client on client from ClientHello, h2"],
    "conversation.resume",
    ...["feeds.close", "end: The client closed the connection", "tools.release"],
    ...["streams.close TLS on client", "streams.close TLS on server"],
  ]);
  assert.deepEqual(record.startTls, { protocol: "SMTP", outcome: "upgraded", at: 7 });
});

test("STARTTLS: the tools are told plaintext when the policy would not decrypt the TLS that may follow", async () => {
  const { steps } = await runSession({ ...SMTP, verdictSoFar: () => verdict("bypass", "sni") });
  assert.ok(steps.includes("tools.connect notTls"), steps.join("\n"));
});

test("STARTTLS: a verdict of bypass leaves the conversation before the peers' TLS is relayed anew", async () => {
  const { steps } = await runSession({ ...SMTP, onHello: () => verdict("bypass", "sni") });
  const left = ["conversation.leave", "tools.release", "state EST:EST:INIT:INIT"];
  assert.deepEqual(
    stepsAfter("policy.onHello", steps)
      .filter((step) => step !== "feeds.close")
      .slice(0, 8),
    [
      ...left,
      ...["tools.connect bypassed", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
      "feeds.tap bypassed: bypassed",
      "streams.relay the detached client from ClientHello and the detached server through ips",
    ],
  );
});

test("STARTTLS: a late bypass repeats the dialogue on a new connection before the ClientHello", async () => {
  const { steps } = await runSession({ ...SMTP, onCertificate: () => verdict("bypass", "certificate") });
  const rest = stepsAfter("policy.onCertificate", steps).filter((step) => step !== "feeds.close");
  assert.deepEqual(rest.slice(0, 12), [
    ...["conversation.leave", "tools.release", "state EST:EST:INIT:INIT"],
    ...["streams.close TLS on server", "streams.close the detached TLS on server"],
    ...["state EST:SYN_SENT:INIT:INIT", "arrival.dial 192.0.2.1 port 443", "upgrades.replay SMTP to server 2"],
    "state EST:EST:INIT:INIT",
    ...["tools.connect bypassed", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
  ]);
  assert.ok(
    steps.includes("streams.relay the detached client from ClientHello and server 2 through ips"),
    steps.join("\n"),
  );
});

test("STARTTLS: a dropped session ends with an alert, and then connections are closed", async () => {
  const { steps } = await runSession({ ...SMTP, onCertificate: () => verdict("drop", "certificate") });
  const rest = stepsAfter("policy.onCertificate", steps).filter((step) => step !== "feeds.close");
  assert.deepEqual(rest, [
    ...["legs.refuse client: access_denied", "end: Dropped: a rule says drop", "tools.release"],
    ...["streams.close client", "streams.close TLS on server"],
  ]);
});

test("STARTTLS: an error resets the client, whose relay resets the others", async () => {
  const serverLeg = () => {
    throw new NetworkError("The server is gone", "ECONNRESET");
  };
  const { steps } = await runSession({ ...SMTP, serverLeg });
  const rest = stepsAfter("legs.server on server", steps).filter((step) => step !== "feeds.close");
  assert.deepEqual(rest.slice(0, 3), ["reset client", "end: The server is gone", "tools.release"]);
});

test("STARTTLS: an error after the conversation was left resets the end on which the client goes on", async () => {
  const dial = () => {
    if (++dialed > 1) throw new NetworkError("Cannot connect", "ECONNREFUSED");
  };
  let dialed = 0;
  const { steps } = await runSession({ ...SMTP, dial, onCertificate: () => verdict("bypass", "certificate") });
  assert.ok(steps.includes("reset the detached client"), steps.join("\n"));
});

test("STARTTLS: a conversation that breaks is no fault of a peer's: only the client is reset", async () => {
  const next = () => {
    throw new NetworkError("The client left", "ECONNRESET");
  };
  const { steps } = await runSession({ ...SMTP, next });
  assert.ok(steps.includes("end: The client left"), steps.join("\n"));
  assert.ok(steps.includes("reset client") && !steps.includes("reset server"), steps.join("\n"));
});

test("STARTTLS: a tool that must not be left out fails, and no byte is relayed", async () => {
  const { steps } = await runSession({
    ...SMTP,
    tools: () => ({ kind: "failed", code: "ETOOL", reason: "Dropped: ips is down" }),
  });
  assert.deepEqual(stepsAfter("tools.connect decrypted", steps).slice(1), [
    ...["reset client", "end: Dropped: ips is down", "streams.close client", "streams.close server"],
  ]);
});

test("STARTTLS: a peer that breaks the dialogue has both connections reset", async () => {
  const next = () => {
    throw new PeerError("The client sent more after STARTTLS", ALERTS.unexpected_message);
  };
  const { steps, record } = await runSession({ ...SMTP, next });
  const relayed = "streams.relay client from EHLO and server from 220 through ips";
  assert.deepEqual(
    stepsAfter(relayed, steps)
      .filter((step) => step !== "feeds.close")
      .slice(0, 4),
    [...["reset client", "reset server", "end: Dropped: The client sent more after STARTTLS", "tools.release"]],
  );
  assert.deepEqual([record.verdict, record.rule], ["drop", "startTls"]);
});

test("STARTTLS: in monitor mode the session goes on with the connections that it has", async () => {
  const passes = () => verdict("bypass", "certificate", "monitor");
  const { steps, record } = await runSession({ ...SMTP, monitor: () => true, onCertificate: passes });
  assert.ok(steps.includes("legs.server on server 2"), steps.join("\n"));
  const end = "streams.relay the detached client from ClientHello and the detached server through ips";
  assert.ok(steps.includes(end), steps.join("\n"));
  assert.equal(record.verdict, "bypass");
});

test("STARTTLS: in monitor mode a dialogue that cannot be repeated breaks nothing", async () => {
  let dialled = 0;
  const { steps, record } = await runSession({
    ...{ ...SMTP, monitor: () => true, verdictSoFar: () => verdict("bypass", "sni", "monitor") },
    dial: (address) => {
      if (++dialled > 1) throw new NetworkError(`Cannot connect to ${address} again`, "ECONNREFUSED");
    },
  });
  const end = "streams.relay the detached client from ClientHello and the detached server through ips";
  assert.ok(steps.includes(end), steps.join("\n"));
  assert.equal(record.verdict, "bypass");
});

test("STARTTLS: bytes that are not TLS after the agreement have both connections reset", async () => {
  const { steps } = await runSession({ ...SMTP, detect: (time) => plainBytes(time === 1 ? "EHLO" : "MAIL") });
  assert.ok(steps.includes("reset client") && steps.includes("reset server"), steps.join("\n"));
  assert.ok(steps.includes("end: Dropped: The client did not begin TLS once the server had agreed"));
});

const dialogue = (news: Partial<Dialogue>) =>
  ({ protocol: "SMTP", offered: undefined, refused: false, ...news }) as Dialogue;

test("STARTTLS: a server that refuses keeps its plaintext, and the record says so", async () => {
  const spoken = dialogue({ refused: true });
  const { steps, record } = await runSession({ ...SMTP, watch: () => watch({ spoken }), next: () => undefined });
  assert.deepEqual(record.startTls, { protocol: "SMTP", outcome: "refused", at: null });
  assert.deepEqual([record.verdict, record.reason], [null, "Not TLS: carried unchanged"]);
  assert.ok(steps.includes("end: The client closed the connection"), steps.join("\n"));
});

test("STARTTLS: a server that offered TLS before and no longer does is recorded and warned of", async () => {
  const spoken = dialogue({ offered: false });
  const { steps, record } = await runSession(
    { ...SMTP, watch: () => watch({ spoken }), next: () => undefined },
    { offering: ["SMTP at 192.0.2.1 port 443"] },
  );
  assert.equal(record.startTls?.outcome, "withdrawn");
  assert.ok(steps.includes("warn: SMTP withdrawn"), steps.join("\n"));
});

test("STARTTLS: a server that offers TLS is remembered, and one that offers it need not be asked", async () => {
  const spoken = dialogue({ offered: true });
  const { record, offering } = await runSession({ ...SMTP, watch: () => watch({ spoken }), next: () => undefined });
  assert.deepEqual([...offering], ["SMTP at 192.0.2.1 port 443"]);
  assert.equal(record.startTls, undefined);
});

test("A conversation whose relay ends before anybody agrees to TLS ends with it", async () => {
  const relay = () => ({ reason: "Nothing passed for 60 s" });
  const { steps } = await runSession({ ...SMTP, next: () => "never", relay });
  const relayed = "streams.relay client from EHLO and server from 220 through ips";
  assert.deepEqual(stepsAfter(relayed, steps), [
    ...["feeds.close", "end: Nothing passed for 60 s"],
    ...["tools.release", "streams.close client", "streams.close server"],
  ]);
});

const PROXY: Partial<Answers> = {
  detect: (time) => (time === 1 ? plainBytes("CONNECT inner.test") : tlsBytes()),
  watch,
  next: () => CONNECT,
};

test("CONNECT: the TLS in the tunnel is decided by the tunnel's host, and decrypted in the same relay", async () => {
  const hosts: unknown[] = [];
  const { steps, record } = await runSession({
    ...PROXY,
    onHello({ connectHost, upgraded }) {
      hosts.push(connectHost, upgraded);
      return undefined;
    },
  });
  assert.deepEqual(hosts, ["inner.test", true]);
  assert.equal(record.connectHost, "inner.test");
  assert.deepEqual(stepsAfter("conversation.hold", steps).slice(0, 7), [
    ...["policy.onHello", "legs.server on server", "pki.judge", "policy.onCertificate", "pki.present"],
    ...["legs.client on client from ClientHello, h2", "conversation.resume"],
  ]);
});

test("CONNECT: plaintext in the tunnel is watched like a new connection, to the target's port", async () => {
  const { steps } = await runSession({
    ...PROXY,
    detect: (time) => [plainBytes("CONNECT inner.test"), plainBytes("EHLO", "220")][time - 1] ?? tlsBytes(),
    next: (time) => (time === 1 ? { ...CONNECT, target: { host: "inner.test", port: 25 } } : STARTTLS),
  });
  assert.deepEqual(
    stepsAfter("streams.detect client and server", stepsAfter("streams.detect client and server", steps)),
    [
      ...["upgrades.watchTunnel port 25: EHLO", "conversation.resume, watched"],
      ...["streams.detect client and server", "conversation.hold"],
      ...stepsAfter("conversation.hold", steps),
    ],
  );
});

test("CONNECT: a proxy that cannot be seen through any further is relayed to its end", async () => {
  const { steps } = await runSession({
    ...PROXY,
    detect: () => plainBytes("CONNECT inner.test"),
    next: (time) => (time < 3 ? CONNECT : undefined),
  });
  const watched = steps.filter((step) => step.startsWith("upgrades.watchTunnel"));
  // The tunnel in the tunnel is watched for TLS, but not for a third one.
  assert.deepEqual(
    watched.map((step) => step.endsWith("no further")),
    [false, true],
  );
  assert.ok(steps.includes("end: The client closed the connection"), steps.join("\n"));
});

/** A client that speaks TLS to a proxy, and asks it for a tunnel in there. */
const TLS_PROXY: Partial<Answers> = {
  watchInside: watch,
  peek: () => true,
  next: () => CONNECT,
  alpn: () => "http/1.1",
};

test("CONNECT inside TLS: the TLS in the tunnel is opened inside the TLS to the proxy", async () => {
  const { steps } = await runSession(TLS_PROXY);
  assert.deepEqual(stepsAfter("upgrades.peek", steps), [
    "upgrades.open TLS on client and TLS on server",
    "feeds.tap decrypted: http/1.1",
    "streams.relay TLS on client and TLS on server through ips",
    "streams.detect TLS on client and TLS on server",
    "conversation.hold",
    ...["policy.onHello", "legs.server on TLS on server", "pki.judge", "policy.onCertificate"],
    ...["pki.present", "legs.client on TLS on client from ClientHello, http/1.1"],
    "conversation.resume, watched",
    ...stepsAfter("conversation.resume, watched", steps),
  ]);
});

/** The inner TLS is bypassed late, so the way to it is opened again. */
const INNER_BYPASS: Partial<Answers> = {
  ...TLS_PROXY,
  onCertificate: ({ connectHost }) => verdict(connectHost === "inner.test" ? "bypass" : "decrypt", "certificate"),
};

test("CONNECT inside TLS: a late bypass opens the TLS to the proxy again, and asks it for the tunnel again", async () => {
  const { steps } = await runSession(INNER_BYPASS);
  const inner = stepsAfter("legs.server on TLS on server", steps).filter((step) => step !== "feeds.close");
  assert.deepEqual(inner.slice(2, 10), [
    ...["conversation.leave", "tools.release", "state EST:EST:INIT:INIT"],
    ...["streams.close TLS on TLS on server", "streams.close the detached TLS on TLS on server"],
    ...["state EST:SYN_SENT:INIT:INIT", "arrival.dial 192.0.2.1 port 443", "legs.server on server 2"],
  ]);
  assert.deepEqual(inner.slice(10, 12), ["upgrades.replay CONNECT to TLS on server 2", "state EST:EST:INIT:INIT"]);
  assert.ok(
    inner.includes("streams.relay the detached TLS on client from ClientHello and TLS on server 2 through ips"),
    inner.join("\n"),
  );
});

test("CONNECT inside TLS: a proxy that shows another certificate when it is dialled again gets nothing", async () => {
  const { steps } = await runSession({ ...INNER_BYPASS, fingerprint: (time) => (time < 3 ? "AA" : "BB") });
  const rest = stepsAfter("legs.server on server 2", steps).filter((step) => step !== "feeds.close");
  assert.deepEqual(rest.slice(0, 2), [...["close TLS on server 2", "reset the detached TLS on client"]]);
  assert.ok(steps.includes("end: The proxy showed another certificate on a second connection"), steps.join("\n"));
});

test("CONNECT inside TLS: a proxy that refuses TLS when it is dialled again ends the session", async () => {
  const { steps } = await runSession({
    ...INNER_BYPASS,
    serverLeg: ({ server }) => (nameOf(server) === "server 2" ? failure(ALERTS.internal_error) : undefined),
  });
  assert.ok(steps.includes("end: The server refused the handshake"), steps.join("\n"));
  assert.ok(!steps.includes("upgrades.replay CONNECT to TLS on server 2"));
});

test("Decrypted HTTP that asks no proxy is relayed after a look at its first bytes", async () => {
  const { steps } = await runSession({ watchInside: watch, peek: () => false, alpn: () => "http/1.1" });
  assert.ok(steps.includes("upgrades.peek"), steps.join("\n"));
  assert.ok(steps.includes("streams.relay TLS on client and TLS on server through ips"), steps.join("\n"));
});

test("HTTP/2 is not searched for a request to a proxy", async () => {
  const { steps } = await runSession({ watchInside: watch, alpn: () => "h2" });
  assert.ok(!steps.includes("upgrades.peek"));
});
