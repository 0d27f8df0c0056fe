import assert from "node:assert/strict";
import { test } from "node:test";
import type { RequestHead } from "../detect/request-head.ts";
import { InvariantError, NetworkError, PeerError } from "../errors.ts";
import type { KnownFacts } from "../policy/view.ts";
import type { FoundHeader } from "../streams/proxy-header.ts";
import { ALERTS } from "../wire/alert.ts";
import { failure, judged, plainBytes, runSession, stepsAfter, tlsBytes, verdict } from "./test-stages.ts";

/** The steps up to the first bytes of a session whose client is connected from the beginning. */
const BEGINNING = [
  "arrival.locate",
  "streams.resolve server.test",
  "policy.onNetwork 192.0.2.1",
  "state EST:SYN_SENT:INIT:INIT",
  "arrival.dial 192.0.2.1 port 443",
  "state EST:EST:INIT:INIT",
  "policy.onNetwork 192.0.2.1",
  "arrival.welcome",
  "state EST:EST:INIT:INIT",
];

test("A decrypted session: the server's certificate, the tools, the client, the relay", async () => {
  const { steps } = await runSession();
  assert.deepEqual(steps, [
    ...BEGINNING,
    "streams.detect client and server",
    "policy.onHello",
    "legs.server on server",
    "pki.judge",
    "policy.onCertificate",
    "tools.connect decrypted",
    "state EST:EST:SYN_SENT:INIT",
    "state EST:EST:EST:EST",
    "pki.present",
    "legs.client on client from ClientHello, h2",
    "feeds.tap decrypted: TLSv1.3 h2",
    "streams.relay TLS on client and TLS on server through ips",
    "feeds.close",
    "end: The client closed the connection",
    "tools.release",
    "streams.close TLS on client",
    "streams.close TLS on server",
  ]);
});

test("A decrypted session's record says who decided, what was agreed on and what the client was shown", async () => {
  const { record } = await runSession({ places: () => ({ archive: "a.pcapng" }) });
  const { certificate, serverLeg, clientLeg, ja3, ja4, communityId, ...others } = record;
  assert.deepEqual([certificate?.sha256, serverLeg?.alpn, clientLeg?.version], ["bb", "h2", "TLSv1.3"]);
  assert.match(`${ja3} ${ja4}`, /^[0-9a-f]{32} t12i/);
  assert.match(communityId ?? "", /^1:[A-Za-z0-9+/]{27}=$/);
  assert.deepEqual(others, {
    ...{ connectHost: null, server: { address: "192.0.2.1", port: 443 } },
    ...{ seenAs: { address: "203.0.113.1", port: 40_000 }, state: "EST:EST:EST:EST" },
    ...{ protocol: "tls", sni: "server.test", ech: null, deployment: "outbound" },
    ...{ verdict: "decrypt", phase: "certificate", rule: "a rule", reason: "a rule says decrypt" },
    presented: { authority: "primary", serial: "01", sha256: "aa", keyType: "ecdsa" },
    ...{ tools: [{ name: "ips", state: "connected" }], feeds: { archive: "a.pcapng" } },
    ...{ clientLeft: "closed", serverLeft: "closed" },
    facts: {
      ...{ upgraded: false, alpn: "h2", versions: "TLSv1.3,TLSv1.2", keyHeld: false },
      ...{ clientCertificateDemanded: false, channelBound: false, certificateRefused: false },
    },
  });
});

test("A held SYN is released only once the server has been reached", async () => {
  const { steps } = await runSession({}, { connected: false });
  assert.deepEqual(steps.slice(3, 9), [
    "state SYN_RCV:SYN_SENT:INIT:INIT",
    "arrival.dial 192.0.2.1 port 443",
    "state SYN_RCV:EST:INIT:INIT",
    "policy.onNetwork 192.0.2.1",
    "arrival.welcome",
    "state EST:EST:INIT:INIT",
  ]);
});

test("A client whose SYN was held stays connected in a late bypass, and is closed at the end", async () => {
  const { steps } = await runSession({ onCertificate: () => verdict("bypass", "certificate") }, { connected: false });
  assert.deepEqual(stepsAfter("policy.onCertificate", steps).slice(0, 2), [
    ...["streams.close TLS on server", "state EST:SYN_SENT:INIT:INIT"],
  ]);
  assert.deepEqual(stepsAfter("tools.release", steps), [
    ...["streams.close TLS on server", "streams.close client", "streams.close server 2"],
  ]);
});

test("A server that the network phase drops is not connected to", async () => {
  const { steps, record } = await runSession({ onNetwork: () => verdict("drop", "network") });
  assert.deepEqual(steps, [
    ...["arrival.locate", "streams.resolve server.test", "policy.onNetwork 192.0.2.1"],
    ...["arrival.refuse policy", "end: Dropped: a rule says drop", "streams.close client"],
  ]);
  assert.equal(record.verdict, "drop");
});

test("Of a host's addresses, those that the network phase drops are not connected to", async () => {
  const { steps } = await runSession({
    resolve: () => ["192.0.2.1", "192.0.2.2"],
    onNetwork: ({ server }) => (server?.address === "192.0.2.1" ? verdict("drop", "network") : undefined),
  });
  assert.ok(steps.includes("arrival.dial 192.0.2.2 port 443"), steps.join("\n"));
});

test("A connection that led elsewhere than its address says is judged by where it led, before the client is let in", async () => {
  const { steps, record } = await runSession({
    resolve: () => ["0.0.0.0"],
    remote: () => "127.0.0.1",
    onNetwork: ({ server }) => (server?.address === "127.0.0.1" ? verdict("drop", "network") : undefined),
  });
  assert.deepEqual(stepsAfter("arrival.dial 0.0.0.0 port 443", steps), [
    ...["state EST:EST:INIT:INIT", "policy.onNetwork 127.0.0.1", "arrival.refuse policy"],
    ...["end: Dropped: a rule says drop", "streams.close client", "streams.close server"],
  ]);
  assert.deepEqual([record.verdict, record.phase], ["drop", "network"]);
});

test("A session that the network phase bypasses is relayed before anything is read", async () => {
  const { steps, record } = await runSession({ onNetwork: () => verdict("bypass", "network") });
  assert.deepEqual(steps, [
    ...BEGINNING,
    ...["tools.connect bypassed", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
    ...["feeds.tap bypassed: bypassed", "streams.relay client and server through ips", "feeds.close"],
    "end: The client closed the connection",
    ...["tools.release", "streams.close client", "streams.close server"],
  ]);
  assert.deepEqual([record.verdict, record.phase], ["bypass", "network"]);
});

test("A held key that the server's clients may not be shown counts as missing in the certificate phase", async () => {
  const seen: unknown[] = [];
  await runSession({
    holdsKey: () => true,
    onHello: ({ keyHeld }) => void seen.push(keyHeld),
    onCertificate: ({ keyHeld }) => {
      seen.push(keyHeld);
      return verdict("drop", "certificate", "missing key");
    },
  });
  assert.deepEqual(seen, [true, false]);
});

test("A certificate is issued for the names that policy treats alike, and always for the asked one", async () => {
  const issuedFor = async (names: string[] | undefined, faults: "hostMismatch"[] = []) => {
    const { facts, ...others } = judged();
    const { steps } = await runSession({
      namesAlike: () => names,
      judge: () => ({ ...others, facts: { ...facts, faults } }),
    });
    return steps.find((step) => step.startsWith("pki.present"));
  };
  assert.equal(await issuedFor(undefined), "pki.present");
  assert.equal(await issuedFor(["server.test", "c.test"]), "pki.present for server.test c.test");
  // A wildcard stood for it, and has gone.
  assert.equal(await issuedFor(["c.test"]), "pki.present for server.test c.test");
  assert.equal(await issuedFor([]), "pki.present for server.test");
  // The server's certificate is not for it.
  assert.equal(await issuedFor(["c.test"], ["hostMismatch"]), "pki.present for c.test");
});

test("A session that the sni phase bypasses is relayed from its ClientHello, without a leg", async () => {
  const { steps } = await runSession({ onHello: () => verdict("bypass", "sni") });
  assert.deepEqual(stepsAfter("policy.onHello", steps), [
    ...["tools.connect bypassed", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
    "feeds.tap bypassed: bypassed",
    "streams.relay client from ClientHello and server through ips",
    ...["feeds.close", "end: The client closed the connection"],
    ...["tools.release", "streams.close client", "streams.close server"],
  ]);
});

test("A bypass for a host is passed on once its server has shown a certificate for it, and at once the next time", async () => {
  const onHello = () => verdict("bypass", "sni", "to verify");
  const { steps } = await runSession({ onHello });
  const first = ["legs.server on server", "pki.judge", "streams.close TLS on server", "state EST:SYN_SENT:INIT:INIT"];
  assert.deepEqual(stepsAfter("policy.onHello", steps).slice(0, 4), first);
  assert.ok(steps.includes("streams.relay client from ClientHello and server 2 through ips"), steps.join("\n"));
  const { steps: next } = await runSession({ onHello }, { verified: ["server.test at 192.0.2.1 port 443"] });
  assert.ok(next.includes("streams.relay client from ClientHello and server through ips"), next.join("\n"));
});

test("A bypass for a host is dropped when its server has no certificate for it, or shows none", async () => {
  const { facts, ...others } = judged();
  const mismatch = { judge: () => ({ ...others, facts: { ...facts, faults: ["hostMismatch" as const] } }) };
  const onHello = () => verdict("bypass", "sni", "to verify");
  const late = { onCertificate: () => verdict("bypass", "certificate", "to verify") };
  const refused = { serverLeg: () => failure(ALERTS.handshake_failure) };
  const soFar = { verdictSoFar: () => verdict("bypass", "certificate", "to verify") };
  for (const answers of [
    { onHello, ...mismatch },
    { ...late, ...mismatch },
    { onHello, ...refused },
    { ...soFar, ...refused },
  ]) {
    const { steps, record } = await runSession(answers);
    assert.ok(steps.includes("legs.refuse client: access_denied"), steps.join("\n"));
    assert.deepEqual([record.verdict, record.rule], ["drop", "verifyBypass"]);
    assert.match(record.reason!, /^The server was not verified: /);
  }
});

test("A session that the sni phase drops ends with an alert, without a leg", async () => {
  const { steps, record } = await runSession({ onHello: () => verdict("drop", "sni") });
  assert.deepEqual([record.verdict, record.phase], ["drop", "sni"]);
  assert.deepEqual(stepsAfter("policy.onHello", steps), [
    ...["legs.refuse client: access_denied", "end: Dropped: a rule says drop"],
    ...["streams.close client", "streams.close server"],
  ]);
});

test("A drop rule with the name of a property that every object has is a rule like any other", async () => {
  const { steps } = await runSession({ onHello: () => verdict("drop", "sni", "constructor") });
  assert.ok(steps.includes("legs.refuse client: access_denied"), steps.join("\n"));
});

test("A client whose versions are dropped gets the alert protocol_version", async () => {
  const { steps } = await runSession({ onHello: () => verdict("drop", "sni", "versions") });
  assert.ok(steps.includes("legs.refuse client: protocol_version"), steps.join("\n"));
});

test("A late bypass closes the server leg, and relays the client's own ClientHello, which its end still has", async () => {
  const { steps } = await runSession({ onCertificate: () => verdict("bypass", "certificate") });
  assert.deepEqual(stepsAfter("policy.onCertificate", steps), [
    "streams.close TLS on server",
    "state EST:SYN_SENT:INIT:INIT",
    "arrival.dial 192.0.2.1 port 443",
    "state EST:EST:INIT:INIT",
    ...["tools.connect bypassed", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
    "feeds.tap bypassed: bypassed",
    "streams.relay client from ClientHello and server 2 through ips",
    ...["feeds.close", "end: The client closed the connection", "tools.release"],
    ...["streams.close client", "streams.close TLS on server", "streams.close server 2"],
  ]);
});

test("A session that the certificate phase drops ends with an alert, before tools and client leg", async () => {
  const { steps } = await runSession({ onCertificate: () => verdict("drop", "certificate") });
  assert.deepEqual(stepsAfter("policy.onCertificate", steps), [
    ...["legs.refuse client: access_denied", "end: Dropped: a rule says drop"],
    ...["streams.close client", "streams.close TLS on server"],
  ]);
});

test("Whether the certificate is revoked is asked before the session is decrypted, and decides again", async () => {
  const revoked = judged({ facts: { ...judged().facts, faults: ["revoked"] } });
  const { steps } = await runSession({
    judge: () => judged({ askRevocation: async () => revoked }),
    onCertificate: ({ certificate }) =>
      verdict(certificate?.faults.includes("revoked") ? "drop" : "decrypt", "certificate"),
  });
  assert.deepEqual(stepsAfter("pki.judge", steps).slice(0, 3), [
    ...["policy.onCertificate", "policy.onCertificate", "legs.refuse client: access_denied"],
  ]);
});

test("Whether the certificate is revoked is not asked for a session that is bypassed", async () => {
  const { steps } = await runSession({
    judge: () => judged({ askRevocation: () => Promise.reject(new Error("asked")) }),
    onCertificate: () => verdict("bypass", "certificate"),
  });
  assert.ok(steps.includes("end: The client closed the connection"), steps.join("\n"));
});

test("The server is offered no protocol that the rule or its tools cannot read", async () => {
  const byRule = await runSession({ verdictSoFar: () => ({ ...verdict("decrypt", "sni"), alpn: "http/1.1" }) });
  const byTool = await runSession({ onlyAlpn: () => "http/1.1" });
  for (const { steps } of [byRule, byTool]) assert.ok(steps.includes("legs.server on server with only http/1.1"));
});

test("A tool that must not be left out fails: the client is reset before it is shown a certificate", async () => {
  const { steps } = await runSession({
    tools: () => ({ kind: "failed", code: "ETOOL", reason: "Dropped: ips is down" }),
  });
  assert.deepEqual(stepsAfter("tools.connect decrypted", steps), [
    ...["state EST:EST:SYN_SENT:INIT", "reset client", "end: Dropped: ips is down"],
    ...["streams.close client", "streams.close TLS on server"],
  ]);
});

test("A tool that must not be left out fails: a session that is bypassed or plaintext is not relayed", async () => {
  const tools = () => ({ kind: "failed", code: "ETOOL", reason: "Dropped: ips is down" }) as const;
  const bypassed = await runSession({ tools, onHello: () => verdict("bypass", "sni") });
  const plaintext = await runSession({ tools, detect: () => plainBytes("hi") });
  for (const { steps } of [bypassed, plaintext]) {
    assert.deepEqual(stepsAfter("state EST:EST:SYN_SENT:INIT", steps), [
      ...["reset client", "end: Dropped: ips is down", "streams.close client", "streams.close server"],
    ]);
  }
});

test("Plaintext that cannot become TLS is relayed from its first bytes", async () => {
  const { steps, record } = await runSession({ detect: () => plainBytes("hi", "220 ready") });
  assert.deepEqual(stepsAfter("streams.detect client and server", steps), [
    "upgrades.watch port 443: hi",
    ...["tools.connect notTls", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
    "feeds.tap notTls: not TLS",
    "streams.relay client from hi and server from 220 ready through ips",
    ...["feeds.close", "end: The client closed the connection"],
    ...["tools.release", "streams.close client", "streams.close server"],
  ]);
  assert.deepEqual([record.protocol, record.verdict], ["other", null]);
});

test("A side that ends its stream before the first bytes are known is not watched for an upgrade", async () => {
  const { steps } = await runSession({ detect: () => ({ ...plainBytes("hi"), answer: undefined }) });
  assert.equal(stepsAfter("streams.detect client and server", steps)[0], "tools.connect notTls");
});

const HTTP = { connectHost: "server.test", http: true };

test("A plain HTTP request to a proxy is relayed as such, and nothing is read before", async () => {
  const { steps, record } = await runSession({ locate: () => HTTP });
  assert.equal(steps[1], "policy.onHello");
  assert.deepEqual(stepsAfter("arrival.welcome", steps).slice(0, 7), [
    ...["state EST:EST:INIT:INIT", "tools.connect notTls", "state EST:EST:SYN_SENT:INIT", "state EST:EST:EST:EST"],
    ...["requests.open client and Ta for server.test port 443, rewriting"],
    ...["feeds.tap notTls: HTTP", "streams.relay client and server through ips"],
  ]);
  assert.equal(record.protocol, "http");
});

test("Plain HTTP to a proxy is carried request by request where the network phase bypasses its server", async () => {
  const onNetwork = () => verdict("bypass", "network");
  const { steps, record } = await runSession({ locate: () => HTTP, onNetwork });
  assert.ok(steps.includes("tools.connect bypassed"));
  assert.ok(steps.includes("requests.open client and Ta for server.test port 443, rewriting"));
  assert.deepEqual([record.verdict, record.phase], ["bypass", "network"]);
});

test("A plain HTTP request to a host that is dropped is refused before the host is resolved", async () => {
  const { steps } = await runSession({ locate: () => HTTP, onNotTls: () => verdict("drop", "sni") });
  assert.deepEqual(steps, [
    ...["arrival.locate", "policy.onHello", "arrival.refuse policy"],
    ...["end: Dropped: a rule says drop", "streams.close client"],
  ]);
});

const GET = { kind: "head", host: "www.test" } as RequestHead;

test("HTTP without a proxy is carried as the client sent it, and judged by its host", async () => {
  const judged: KnownFacts[] = [];
  const onHello = (facts: KnownFacts) => void judged.push(facts);
  const { steps, record } = await runSession({ detect: () => plainBytes("GET"), first: () => GET, onHello });
  assert.partialDeepStrictEqual(judged, [{ requestHost: "www.test", sni: null, upgraded: false }]);
  assert.ok(steps.includes("requests.open client and Ta for www.test port undefined"));
  assert.deepEqual([record.protocol, record.connectHost], ["http", "www.test"]);
});

test("Requests pass the tools of the rule that decides on their host", async () => {
  const judged: KnownFacts[] = [];
  const verdictSoFar = (facts: KnownFacts) => {
    judged.push(facts);
    return { ...verdict("decrypt", "sni"), tools: [] };
  };
  await runSession({ detect: () => plainBytes("GET"), first: () => GET, verdictSoFar });
  assert.equal(judged.at(-1)?.requestHost, "www.test");
});

test("A request whose host is dropped, and one that is malformed, reach no server", async () => {
  const bad = () => ({ kind: "bad", status: 400, message: "two Host fields" }) as const;
  const onHello = () => verdict("drop", "sni");
  for (const [answers, status, reason] of [
    [{ first: () => GET, onHello }, 403, "Dropped: a rule says drop"],
    [{ first: bad }, 400, "The client's request is malformed: two Host fields"],
  ] as const) {
    const { steps } = await runSession({ detect: () => plainBytes("GET"), ...answers });
    assert.ok(steps.includes(`requests.refuse client ${status}`) && steps.includes(`end: ${reason}`));
    assert.ok(!steps.some((step) => step.startsWith("streams.relay")));
  }
});

test("A request for another host goes on as another session on the client's connection", async () => {
  const { steps, goesOn } = await runSession({ locate: () => HTTP, goesElsewhere: () => true });
  assert.ok(steps.includes("end: The client went on with a request for another host"));
  assert.ok(!steps.includes("streams.close client on another end"));
  assert.equal(goesOn, true);
});

const HEADER: FoundHeader = {
  ...{ kind: "header", version: 1, source: { address: "203.0.113.9", port: 1 }, length: 6 },
  bytes: Buffer.from("HEADER"),
};

test("An unexpected PROXY header goes on to the server, the TLS behind it is decrypted, and nobody believes it", async () => {
  const { steps, record } = await runSession({
    detect: (time) => (time === 1 ? plainBytes("HEADER") : tlsBytes()),
    proxyHeader: (time) => (time === 1 ? HEADER : undefined),
    onHello: ({ client }) => {
      assert.equal(client?.address, "198.51.100.7");
      return undefined;
    },
    onCertificate: () => verdict("bypass", "certificate"),
  });
  const writes = ["write server: HEADER", "write server 2: HEADER"];
  assert.deepEqual(
    steps.filter((step) => step.startsWith("write")),
    writes,
    "a late bypass needs it again",
  );
  assert.ok(steps.includes("warn: PROXY header from 198.51.100.7"));
  assert.partialDeepStrictEqual(record, {
    proxyHeader: { version: 1, client: { address: "203.0.113.9", port: 1 }, believed: false },
    verdict: "bypass",
  });
});

for (const [code, refusal] of [
  ["ECONNREFUSED", "unreachable"],
  ["ETIMEDOUT", "timeout"],
] as const) {
  test(`A server that cannot be reached (${code}): the client is told in its listener's way`, async () => {
    const dial = () => {
      throw new NetworkError("Cannot connect", code);
    };
    const { steps } = await runSession({ dial });
    assert.deepEqual(stepsAfter("arrival.dial 192.0.2.1 port 443", steps), [
      ...[`arrival.refuse ${refusal}`, "end: Cannot connect", "streams.close client"],
    ]);
  });
}

test("A host that cannot be resolved: the client is told in its listener's way", async () => {
  const resolve = () => {
    throw new NetworkError("Cannot resolve server.test", "ENOTFOUND");
  };
  const { steps } = await runSession({ resolve });
  assert.deepEqual(stepsAfter("streams.resolve server.test", steps), [
    ...["arrival.refuse unreachable", "end: Cannot resolve server.test", "streams.close client"],
  ]);
});

test("A bug of ours on the way to the server is reported", async () => {
  const dial = () => {
    throw new InvariantError("no address");
  };
  const { steps } = await runSession({ dial });
  assert.deepEqual(stepsAfter("arrival.dial 192.0.2.1 port 443", steps), [
    ...["reset client", "bug: no address", "end: An internal error ended the session", "streams.close client"],
  ]);
});

test("A client that breaks the protocol gets the alert that says why", async () => {
  const detect = () => {
    throw new PeerError("Cannot read the ClientHello", ALERTS.decode_error);
  };
  const { steps } = await runSession({ detect });
  assert.deepEqual(stepsAfter("streams.detect client and server", steps), [
    ...["legs.refuse client: decode_error", "end: Cannot read the ClientHello"],
    ...["streams.close client", "streams.close server"],
  ]);
});

test("A connection that breaks ends the session with a reset of the client", async () => {
  const detect = () => {
    throw new NetworkError("The server reset its connection", "ECONNRESET");
  };
  const { steps } = await runSession({ detect });
  assert.deepEqual(stepsAfter("streams.detect client and server", steps), [
    ...["reset client", "end: The server reset its connection", "streams.close client", "streams.close server"],
  ]);
});

test("A bug of ours is reported, resets the client and leaves no connection and no tool behind", async () => {
  const present = () => {
    throw new InvariantError("no certificate");
  };
  const { steps } = await runSession({ present });
  assert.deepEqual(stepsAfter("pki.present", steps), [
    ...["reset client", "bug: no certificate", "end: An internal error ended the session"],
    ...["tools.release", "streams.close client", "streams.close TLS on server"],
  ]);
});

test("A client whose SYN is still held is refused when the session breaks", async () => {
  const welcome = () => {
    throw new NetworkError("The client left", "ECONNRESET");
  };
  const onNetwork = () => verdict("bypass", "network");
  const { steps, record } = await runSession({ welcome, onNetwork }, { connected: false });
  assert.equal(record.phase, "network", "what was decided is recorded before the client is waited for");
  assert.deepEqual(stepsAfter("arrival.welcome", steps), [
    ...["arrival.refuse timeout", "end: The client left", "streams.close server"],
  ]);
});

test("A client to which a last answer is being sent is not reset", async () => {
  const { steps } = await runSession({
    locate: () => {
      throw new NetworkError("The request did not end in time", "ETIMEDOUT");
    },
    isAnswered: () => true,
  });
  assert.deepEqual(steps, ["arrival.locate", "end: The request did not end in time", "streams.close client"]);
});

test("A client that names no host is judged by the server's address, and recorded so", async () => {
  const { record, steps } = await runSession({ detect: () => tlsBytes({ serverName: undefined }) });
  assert.equal(record.sni, null);
  assert.ok(steps.includes("policy.onCertificate"));
});
