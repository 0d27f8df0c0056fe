import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import { readHello } from "../../test/hello-on-wire.ts";
import type { TlsVersion } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { openClientLeg } from "./client-leg.ts";
import { createContextCache } from "./contexts.ts";
import { type Pair, testLeg } from "./leg-compliance.ts";
import { openServerLeg } from "./server-leg.ts";
import { loopback } from "./test-pairs.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-legs-"));
after(() => rmSync(folder, { recursive: true }));
execFileSync(
  "openssl",
  [
    ..."req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=leg.test -addext subjectAltName=DNS:leg.test".split(" "),
    ...["-keyout", join(folder, "key.pem"), "-out", join(folder, "certificate.pem")],
  ],
  { stdio: "ignore" },
);
const key = readFileSync(join(folder, "key.pem"), "utf8");
const cert = readFileSync(join(folder, "certificate.pem"), "utf8");

const VERSIONS: readonly TlsVersion[] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const CIPHERS = "DEFAULT@SECLEVEL=0";
const contexts = createContextCache(100);

async function clientLegPair(version: TlsVersion, alpn?: string): Promise<Pair> {
  const [near, far] = await loopback();
  const options = { socket: near, servername: "leg.test", minVersion: version, maxVersion: version, ciphers: CIPHERS };
  const peer = connect({
    ...options,
    ALPNProtocols: ["h2", "http/1.1"],
    rejectUnauthorized: false,
    ...{ allowHalfOpen: true },
  });
  peer.on("error", () => {});
  const connected = once(peer, "secureConnect");
  const opening = await readHello(far);
  const leg = await openClientLeg(far, opening, {
    presented: [{ certificatePem: cert, keyPem: key }],
    alpn,
    versions: { min: "TLSv1", max: "TLSv1.3" },
    timeout: 5_000,
    contexts,
  });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  return pairOf(leg as typeof leg & { kind: "up" }, peer, near, far);
}

async function serverLegPair(version: TlsVersion): Promise<Pair> {
  const [near, far] = await loopback();
  const options = { isServer: true, ALPNProtocols: ["http/1.1"], ...{ allowHalfOpen: true } };
  const secureContext = createSecureContext({ key, cert, minVersion: version, maxVersion: version, ciphers: CIPHERS });
  const peer = new TLSSocket(far, { ...options, secureContext });
  // As tls.Server does for its own sockets.
  peer.on("_tlsError", (error) => peer.destroy(error)).on("error", () => {});
  const connected = once(peer, "secure");
  const { hello } = await helloOf(version);
  const leg = await openServerLeg(near, hello, {
    versions: { min: "TLSv1", max: "TLSv1.3" },
    timeout: 5_000,
    contexts,
  });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  return pairOf(leg as typeof leg & { kind: "up" }, peer, far, near);
}

/** What Node's own client offers. */
async function helloOf(version: TlsVersion): Promise<{ hello: ClientHello; bytes: Buffer }> {
  const [near, far] = await loopback();
  const options = { socket: near, servername: "leg.test", minVersion: version, maxVersion: version, ciphers: CIPHERS };
  connect({ ...options, ALPNProtocols: ["h2", "http/1.1"] }).on("error", () => {});
  const read = await readHello(far);
  near.destroy();
  far.destroy();
  return read;
}

/** One byte each way first: Node's TLS 1.3 peers leave by a close_notify while they have not read their tickets. */
async function pairOf(leg: Pair["leg"], stream: TLSSocket, socket: Socket, own: Socket): Promise<Pair> {
  for (const [from, to] of [
    [stream, leg.stream],
    [leg.stream, stream],
  ] as const) {
    from.write("x");
    await once(to, "readable");
    to.read();
  }
  return {
    leg,
    peer: { stream, socket },
    close() {
      for (const one of [stream, socket, leg.stream, own]) one.destroy();
    },
  };
}

for (const version of VERSIONS) {
  testLeg(`The client leg over ${version}`, () => clientLegPair(version));
  testLeg(`The server leg over ${version}`, () => serverLegPair(version));

  test(`Both legs speak ${version} and say so`, async () => {
    for (const open of [clientLegPair, serverLegPair]) {
      const pair = await open(version);
      assert.equal(pair.leg.negotiated.version, version);
      pair.close();
    }
  });
}

test("The client leg gives the client exactly the ALPN that the server chose", async () => {
  const pair = await clientLegPair("TLSv1.3", "http/1.1");
  assert.equal(pair.leg.negotiated.alpn, "http/1.1");
  assert.equal((pair.peer.stream as TLSSocket).alpnProtocol, "http/1.1");
  pair.close();
});

test("The client leg gives no ALPN when the server chose none", async () => {
  const pair = await clientLegPair("TLSv1.2");
  assert.equal(pair.leg.negotiated.alpn, undefined);
  assert.equal((pair.peer.stream as TLSSocket).alpnProtocol, false);
  pair.close();
});

test("The client leg refuses renegotiation that the client asks for", async () => {
  const pair = await clientLegPair("TLSv1.2");
  const { stream } = pair.peer;
  pair.leg.stream.resume();
  const failed = once(stream, "error");
  const refused = new Promise((resolve) => (stream as TLSSocket).renegotiate({}, resolve));
  assert.ok((await Promise.race([refused, failed])) !== null, "the renegotiation went through");
  pair.close();
});

test("The server leg learns in the handshake that a TLS 1.3 server demands a client certificate", async () => {
  const [near, far] = await loopback();
  const secureContext = createSecureContext({ key, cert });
  const peer = new TLSSocket(far, { isServer: true, secureContext, requestCert: true, rejectUnauthorized: true });
  peer.on("error", () => {});
  const { hello } = await helloOf("TLSv1.3");
  const leg = await openServerLeg(near, hello, {
    versions: { min: "TLSv1.2", max: "TLSv1.3" },
    timeout: 5_000,
    contexts,
  });
  near.destroy();
  assert.equal(leg.kind, "failed");
});
