import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import { dial } from "../engine/dial.ts";
import { endAndSocket, loop, readToEnd } from "../engine/test-ends.ts";
import type { TlsVersion } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { openClientLeg } from "./client-leg.ts";
import type { ClientLeg, ServerLeg } from "./leg.ts";
import { greet, nodePeer, type Pair, testLeg } from "./leg-compliance.ts";
import { openServerLeg } from "./server-leg.ts";
import { Cleanup, COMMON, nodesHello, readHello } from "./test-pairs.ts";

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
const ALPN = ["h2", "http/1.1"];
const ALL = { min: "TLSv1", max: "TLSv1.3" } as const;

type TlsPair = Pair & { readonly stream: TLSSocket };

async function clientLegPair(version: TlsVersion, alpn?: string): Promise<TlsPair> {
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  const versions = { minVersion: version, maxVersion: version, ciphers: CIPHERS };
  const common = { socket, servername: "leg.test", ALPNProtocols: ALPN, rejectUnauthorized: false };
  const stream = connect({ ...common, ...versions, ...{ allowHalfOpen: true } }).on("error", () => {});
  const connected = once(stream, "secureConnect");
  const presented = [{ certificatePem: cert, keyPem: key }];
  const leg = await openClientLeg(end, await readHello(end), { ...COMMON, presented, alpn, versions: ALL });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  const pair = { leg: leg as ClientLeg, end, peer: nodePeer(stream, socket), stream };
  await greet(pair);
  return { ...pair, close: () => cleanup.close() };
}

async function serverLegPair(version: TlsVersion): Promise<TlsPair> {
  const hello = await helloOf(version);
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  const options = { isServer: true, ALPNProtocols: ["http/1.1"], ...{ allowHalfOpen: true } };
  const secureContext = createSecureContext({ key, cert, minVersion: version, maxVersion: version, ciphers: CIPHERS });
  const stream = new TLSSocket(socket, { ...options, secureContext });
  // As tls.Server does for its own sockets.
  stream.on("_tlsError", (error) => stream.destroy(error)).on("error", () => {});
  const connected = once(stream, "secure");
  const leg = await openServerLeg(end, hello, { ...COMMON, versions: ALL });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await connected;
  const pair = { leg: leg as ServerLeg, end, peer: nodePeer(stream, socket), stream };
  await greet(pair);
  return { ...pair, close: () => cleanup.close() };
}

const helloOf = (version: TlsVersion) =>
  nodesHello({ minVersion: version, maxVersion: version, ciphers: CIPHERS, ALPNProtocols: ALPN });

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
  assert.equal(pair.stream.alpnProtocol, "http/1.1");
  pair.close();
});

test("The client leg gives no ALPN when the server chose none", async () => {
  const pair = await clientLegPair("TLSv1.2");
  assert.equal(pair.leg.negotiated.alpn, undefined);
  assert.equal(pair.stream.alpnProtocol, false);
  pair.close();
});

test("The client leg refuses renegotiation that the client asks for", async () => {
  const pair = await clientLegPair("TLSv1.2");
  const { stream, end } = pair;
  const failed = once(stream, "error");
  const refused = new Promise((resolve) => stream.renegotiate({}, resolve));
  // OpenSSL answers while it is read from; its refusal is a warning, after which the client gives up.
  void readToEnd(end).catch(() => {});
  assert.ok((await Promise.race([refused, failed])) !== null, "the renegotiation went through");
  pair.close();
});

/** A server that asks for a client certificate, and the leg toward it. */
async function demandingServer(version: TlsVersion, insists: boolean) {
  const hello = await helloOf(version);
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  const secureContext = createSecureContext({ key, cert, minVersion: version, maxVersion: version });
  const options = { isServer: true, secureContext, requestCert: true, rejectUnauthorized: insists };
  const stream = new TLSSocket(socket, options).on("error", () => {});
  // As tls.Server does, which refuses a client without a certificate after the handshake.
  if (insists) stream.on("secure", () => socket.destroy());
  const leg = await openServerLeg(end, hello, { ...COMMON, versions: ALL });
  return { leg, close: () => cleanup.close() };
}

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`The server leg comes up with a ${version} server that asks for a certificate and does not insist`, async () => {
    const { leg, close } = await demandingServer(version, false);
    assert.equal(leg.kind, "up", JSON.stringify(leg));
    close();
  });
}

test("The server leg fails, and says that a certificate was asked for, when the server refuses a client without", async () => {
  for (const how of ["-tls1_2", "-tls1_3"]) {
    const hello = await nodesHello({});
    const server = spawn("openssl", [
      ...["s_server", "-accept", "127.0.0.1:0", "-Verify", "1", "-verify_return_error", how],
      ...["-cert", join(folder, "certificate.pem"), "-key", join(folder, "key.pem")],
    ]);
    after(() => server.kill("SIGKILL"));
    const end = await dial(loop, ["127.0.0.1"], await portOf(server), 10_000);
    const leg = await openServerLeg(end, hello, { ...COMMON, versions: ALL });
    assert.ok(leg.kind === "failed", how);
    assert.deepEqual([leg.certificateRequested, leg.cause], [true, "alert"], how);
    const expected = how === "-tls1_3" ? ALERTS.certificate_required : ALERTS.handshake_failure;
    assert.equal(leg.alert, expected, how);
    server.kill("SIGKILL");
  }
});

async function portOf(server: ChildProcessWithoutNullStreams): Promise<number> {
  let output = "";
  for await (const text of server.stdout) {
    output += text;
    const [, port] = /^ACCEPT .*:(\d+)$/m.exec(output) ?? [];
    if (port !== undefined) return Number(port);
  }
  throw new Error(`s_server ended: ${output}`);
}
