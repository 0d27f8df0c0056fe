import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";

import { needs } from "../../test/needs.ts";
import type { SessionKeeper } from "../resumption/keeper.ts";
import { relay } from "../streams/relay.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { record } from "../wire/record.ts";
import { openClientLeg } from "./client-leg.ts";
import { createContextCache } from "./contexts.ts";
import type { KeyTaker } from "./leg.ts";
import { type Pair, testLeg } from "./leg-compliance.ts";
import type { VersionRange } from "./offer.ts";
import { mayFallBack, openServerLeg } from "./server-leg.ts";
import { tcpPair } from "./test-pairs.ts";

const read = (name: string) => readFileSync(new URL(`../../test/recorded/ssl3/${name}`, import.meta.url), "utf8");
const presented = [{ certificatePem: read("rsa.pem"), keyPem: read("rsa.key") }];
const contexts = createContextCache(10);
const ONLY: VersionRange = { min: "SSLv3", max: "SSLv3" };
const ALL: VersionRange = { min: "SSLv3", max: "TLSv1.3" };
/** A ClientHello of SSL 3.0 with RSA suites: AES-128, 3DES, RC4. */
const HELLO_BYTES = record(22, 0x0300, Buffer.from(`0100002d0300${"07".repeat(32)}000006002f000a00050100`, "hex"));
const HELLO = helloOf(HELLO_BYTES);

function helloOf(bytes: Buffer): ClientHello {
  const sighting = createClientHelloReader().push(bytes);
  assert.equal(sighting.kind, "hello");
  return (sighting as { hello: ClientHello }).hello;
}

interface Wanted {
  readonly suite?: number;
  readonly versions?: VersionRange;
  readonly sessions?: { readonly client: SessionKeeper; readonly server: SessionKeeper };
  readonly bond?: string;
  readonly takeKey?: KeyTaker;
}

/** Both legs of the engine, one at each end of a connection. The peers of other makers are in test/interop/ssl3.test.ts. */
async function bothLegs(t: Pick<TestContext, "after">, options: Wanted = {}) {
  const { suite = 0x002f, versions = ONLY, sessions, bond = "", takeKey } = options;
  const [near, far] = await tcpPair(t);
  const timeout = 5_000;
  const hello = { ...HELLO, cipherSuites: [suite] };
  const common = { timeout, contexts, takeKey };
  const returning = { bond: [bond], timeout: 60_000 };
  const toServer = sessions && { ...returning, sessions: sessions.server };
  const opening = openServerLeg(near, hello, { ...common, versions: ONLY, resumption: toServer });
  const bytes = await firstBytes(far);
  const opened = { hello: helloOf(bytes), bytes };
  const toClient = sessions && { ...returning, sessions: sessions.client, ticketKeys: [] };
  const [server, client] = await Promise.all([
    opening,
    openClientLeg(far, opened, { ...common, presented, alpn: undefined, versions, resumption: toClient }),
  ]);
  return { server, client, near, far };
}

async function firstBytes(socket: Socket): Promise<Buffer> {
  await once(socket, "readable");
  return socket.read();
}

async function pair(which: "client" | "server"): Promise<Pair> {
  const { server, client, near, far } = await bothLegs({ after() {} });
  assert.ok(server.kind === "up" && client.kind === "up", JSON.stringify([server, client]));
  const [leg, peer] = which === "client" ? [client, server] : [server, client];
  return {
    leg,
    peer: { stream: peer.stream, socket: peer.socket },
    close() {
      for (const one of [server.stream, client.stream, near, far]) one.destroy();
    },
  };
}

testLeg("The client leg over SSL 3.0", () => pair("client"));
testLeg("The server leg over SSL 3.0", () => pair("server"));

test("A FIN without close_notify is an error of the leg, and not an end", async (t) => {
  for (const from of ["client", "server"] as const) {
    const legs = await bothLegs(t);
    assert.ok(legs.server.kind === "up" && legs.client.kind === "up");
    const [sender, receiver] = from === "client" ? [legs.server, legs.client] : [legs.client, legs.server];
    sender.stream.write("cut off he");
    let ended = false;
    receiver.stream.on("end", () => {
      ended = true;
    });
    const failed = once(receiver.stream, "error");
    await once(receiver.stream, "readable");
    assert.equal(receiver.stream.read().toString(), "c");
    receiver.stream.resume();
    sender.socket.end();
    const [error] = await failed;
    assert.equal(error.code, "ERR_SSL_UNEXPECTED_EOF_WHILE_READING");
    assert.equal(ended, false);
  }
});

for (const how of ["close_notify", "a bare FIN"]) {
  test(`What came before the connection closed with ${how} is there for a reader that comes late`, async (t) => {
    const { server, client } = await bothLegs(t);
    assert.ok(server.kind === "up" && client.kind === "up");
    server.stream.end();
    client.stream.resume();
    await once(client.stream, "end");
    const closed = once(server.socket, "close");
    const last = how === "close_notify" ? () => client.stream.end() : () => client.socket.end();
    client.stream.write(Buffer.alloc(100_000), last);
    await closed;
    let read = 0;
    server.stream.on("data", (bytes: Buffer) => {
      read += bytes.length;
    });
    const outcome = await Promise.race([
      once(server.stream, "end").then(() => "end"),
      once(server.stream, "close").then(() => "close"),
    ]).catch(({ code }) => code);
    assert.equal(read, 100_000);
    assert.equal(outcome, how === "close_notify" ? "end" : "ERR_SSL_UNEXPECTED_EOF_WHILE_READING");
  });
}

test("A relay carries all that came before a missing close_notify, and then that it is missing", async (t) => {
  const [left, right] = [await bothLegs(t), await bothLegs(t)];
  assert.ok(left.server.kind === "up" && left.client.kind === "up");
  assert.ok(right.server.kind === "up" && right.client.kind === "up");
  // A server's peer, the node's two legs, a client's peer: the server sends more than any buffer holds, and a FIN.
  const [origin, node, reader] = [left.client, { client: right.client, server: left.server }, right.server];
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(node.client, node.server, { meter, taps: [], idle: 5_000 });
  const bytes = 3 * 2 ** 20;
  origin.stream.write(Buffer.alloc(bytes), () => origin.socket.end());
  let read = 0;
  const failed = once(reader.stream, "error");
  reader.stream.on("data", (some: Buffer) => {
    read += some.length;
  });
  const [[error], parting] = await Promise.all([failed, over]);
  assert.equal(error.code, "ERR_SSL_UNEXPECTED_EOF_WHILE_READING");
  assert.equal(read, bytes);
  assert.equal(parting.reason, "The server ended the connection without close_notify");
});

test("A TLS client sees that a server of SSL 3.0 was cut off", needs("openssl"), async (t) => {
  const left = await bothLegs(t);
  assert.ok(left.server.kind === "up" && left.client.kind === "up");
  const [near, far] = await tcpPair(t);
  const program = spawn("openssl", ["s_client", "-quiet", "-connect", await relayed(t, near)], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  t.after(() => program.kill());
  let told = "";
  program.stderr.setEncoding("utf8").on("data", (text: string) => {
    told += text;
  });
  const bytes = await firstBytes(far);
  const opening = { hello: helloOf(bytes), bytes };
  const tls = { presented, alpn: undefined, versions: ALL, timeout: 5_000, contexts };
  const client = await openClientLeg(far, opening, tls);
  assert.ok(client.kind === "up", JSON.stringify(client));
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(client, left.server, { meter, taps: [], idle: 5_000 });
  left.client.stream.write("cut off he", () => left.client.kind === "up" && left.client.socket.end());
  await Promise.all([over, once(program, "close")]);
  assert.match(told, /unexpected eof while reading/);
});

/** A port whose one connection is carried to this socket: a program can be a socket's other end. */
async function relayed(t: TestContext, socket: Socket): Promise<string> {
  const server = createServer({ allowHalfOpen: true }, (incoming) => {
    incoming.on("error", () => {});
    incoming.pipe(socket).pipe(incoming);
  });
  t.after(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("The two sides say what they agreed on, with IANA's names", async (t) => {
  const { server, client } = await bothLegs(t, { suite: 0x0005 });
  assert.ok(server.kind === "up" && client.kind === "up");
  const negotiated = {
    version: "SSLv3",
    suite: "TLS_RSA_WITH_RC4_128_SHA",
    group: undefined,
    alpn: undefined,
    resumed: false,
  };
  assert.deepEqual([server.negotiated, client.negotiated], [negotiated, negotiated]);
  assert.equal(server.certificate.subject, "CN=recorded.test");
  assert.equal(server.verifyCode, "NOT_VERIFIED");
});

test("A handshake that fails says who refused, with the alert that carries it across", async (t) => {
  const { server, client } = await bothLegs(t, { suite: 0x002f, versions: { ...ONLY, ssl3Suites: "rc4" } });
  assert.ok(server.kind === "failed" && client.kind === "failed");
  assert.deepEqual([client.cause, client.alert], ["protocol", ALERTS.handshake_failure]);
  assert.match(client.reason, /^The handshake with the client failed: .*no cipher suite/);
  assert.deepEqual([server.cause, server.alert], ["alert", ALERTS.handshake_failure]);
});

test("A client that has gone, or goes, or says nothing, is told apart", async (t) => {
  const options = { presented, alpn: undefined, versions: ONLY, timeout: 200, contexts };
  const open = async (then: (near: Socket) => void) => {
    const [near, far] = await tcpPair(t);
    const leg = openClientLeg(far, { hello: HELLO, bytes: HELLO_BYTES }, options);
    then(near.resume());
    return leg;
  };
  const causes = await Promise.all([
    open((near) => near.end()),
    open((near) => near.resetAndDestroy()),
    open(() => {}),
  ]);
  assert.deepEqual(
    causes.map((leg) => leg.kind === "failed" && [leg.cause, leg.code]),
    [
      ["network", "EOF"],
      ["network", "ECONNRESET"],
      ["timeout", "ETIMEDOUT"],
    ],
  );
});

test("Both legs come back to a session of the same bond, and of no other", async (t) => {
  const sessions = { client: keeper(), server: keeper() };
  const open = async (bond: string, suite = 0x002f) => {
    const { server, client } = await bothLegs(t, { sessions, bond, suite });
    assert.ok(server.kind === "up" && client.kind === "up");
    assert.equal(server.certificate.subject, "CN=recorded.test");
    assert.equal(server.negotiated.suite, client.negotiated.suite);
    assert.equal(server.negotiated.resumed, client.negotiated.resumed);
    return server.negotiated.resumed;
  };
  assert.deepEqual(
    [await open("ours"), await open("ours"), await open("ours"), await open("theirs"), await open("ours", 0x0005)],
    [false, true, true, false, false],
  );
});

test("A leg that fails says whether the server was offered a session, which is not offered again", async (t) => {
  const sessions = { client: keeper(), server: keeper() };
  const fail = async () => {
    const [near, far] = await tcpPair(t);
    far.once("readable", () => far.resetAndDestroy());
    const resumption = { sessions: sessions.server, bond: [""], timeout: 60_000 };
    const hello = { ...HELLO, cipherSuites: [0x002f] };
    const leg = await openServerLeg(near, hello, { versions: ONLY, timeout: 5_000, contexts, resumption });
    return leg.kind === "failed" && leg.resuming;
  };
  assert.equal(await fail(), false);
  await bothLegs(t, { sessions });
  assert.deepEqual([await fail(), await fail()], [true, false]);
});

for (const side of ["client", "server"] as const) {
  test(`Neither leg comes back to a session whose ${side} said something that ends it with a fatal alert`, async (t) => {
    const sessions = { client: keeper(), server: keeper() };
    const open = async () => {
      const { server, client } = await bothLegs(t, { sessions });
      assert.ok(server.kind === "up" && client.kind === "up");
      return { server, client, resumed: client.negotiated.resumed };
    };
    assert.equal((await open()).resumed, false);
    // One that was resumed, so that both have something to forget; one that was not.
    for (const resumed of [true, false]) {
      const again = await open();
      assert.equal(again.resumed, resumed);
      const broken = [again.client, again.server].map(({ stream }) => once(stream, "error"));
      const [speaker] = side === "server" ? [again.client] : [again.server];
      speaker!.socket.write(record(23, 0x0300, Buffer.alloc(32)));
      for (const stream of [again.client.stream, again.server.stream]) stream.resume();
      const codes = (await Promise.all(broken)).map(([error]) => error.code).sort();
      assert.deepEqual(codes, ["ERR_SSL_BAD_RECORD_MAC", "ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC"]);
    }
    assert.equal((await open()).resumed, false);
    assert.equal((await open()).resumed, true);
  });
}

test("A leg's master secret goes to a key log when one is kept, and nowhere else", async (t) => {
  const lines: string[] = [];
  const { server, client } = await bothLegs(t, { takeKey: (line) => lines.push(line.toString()) });
  assert.ok(server.kind === "up" && client.kind === "up");
  assert.equal(lines.length, 2);
  assert.equal(lines[0], lines[1]);
  assert.match(lines[0]!, /^CLIENT_RANDOM [0-9a-f]{64} [0-9a-f]{96}\n$/);
});

/** Sessions in a map, without the other workers and the seal. */
function keeper(): SessionKeeper {
  const kept = new Map<string, Uint8Array>();
  return {
    put: (bond, session) => void kept.set(JSON.stringify(bond), session),
    find: async (bond) => kept.get(JSON.stringify(bond)),
    forget: (bond) => void kept.delete(JSON.stringify(bond)),
    hits: 0,
    misses: 0,
    size: 0,
    flush: () => kept.size,
  };
}

test("Only a refusal of a server that may be as old as SSL 3.0 is worth another try, and only where policy allows it", () => {
  const failure = { kind: "failed", alert: 40, code: "", reason: "" } as const;
  assert.equal(mayFallBack({ ...failure, cause: "alert" }, ALL), true);
  assert.equal(mayFallBack({ ...failure, cause: "alert", alert: ALERTS.protocol_version }, ALL), true);
  assert.equal(mayFallBack({ ...failure, cause: "network" }, ALL), true);
  assert.equal(mayFallBack({ ...failure, cause: "protocol", code: "ERR_SSL_UNSUPPORTED_PROTOCOL" }, ALL), true);
  assert.equal(mayFallBack({ ...failure, cause: "alert", alert: ALERTS.certificate_required }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "alert", alert: ALERTS.inappropriate_fallback }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "protocol", code: "ERR_SSL_BAD_SIGNATURE" }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "timeout" }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "alert" }, { min: "TLSv1", max: "TLSv1.3" }), false);
  // There was nothing newer to fall back from.
  assert.equal(mayFallBack({ ...failure, cause: "alert" }, ONLY), false);
});
