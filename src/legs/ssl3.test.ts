import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { needs } from "../../test/needs.ts";
import type { End } from "../engine/end.ts";
import { BROKEN, END, TRUNCATED } from "../engine/layer.ts";
import { relay } from "../engine/relay.ts";
import { acceptOne, endAndSocket, endPair, readToEnd, writeAll } from "../engine/test-ends.ts";
import { until } from "../engine/wait.ts";
import type { SessionKeeper } from "../resumption/keeper.ts";
import { ServerSessions } from "../resumption/server-sessions.ts";
import { ALERTS } from "../wire/alert.ts";
import { record } from "../wire/record.ts";
import { openClientLeg } from "./client-leg.ts";
import type { KeyTaker } from "./leg.ts";
import { enginePeer, type Pair, testLeg } from "./leg-compliance.ts";
import type { VersionRange } from "./offer.ts";
import { mayFallBack, openServerLeg } from "./server-leg.ts";
import type { RememberedSession, ServerResumption } from "./server-session.ts";
import { Cleanup, COMMON, helloOf, readHello } from "./test-pairs.ts";

const read = (name: string) => readFileSync(new URL(`../../test/recorded/ssl3/${name}`, import.meta.url), "utf8");
const presented = [{ certificatePem: read("rsa.pem"), keyPem: read("rsa.key") }];
const ONLY: VersionRange = { min: "SSLv3", max: "SSLv3" };
const ALL: VersionRange = { min: "SSLv3", max: "TLSv1.3" };
/** A ClientHello of SSL 3.0 with RSA suites: AES-128, 3DES, RC4. */
const HELLO_BYTES = record(22, 0x0300, Buffer.from(`0100002d0300${"07".repeat(32)}000006002f000a00050100`, "hex"));
const HELLO = helloOf(HELLO_BYTES);

interface Wanted {
  readonly suite?: number;
  readonly versions?: VersionRange;
  readonly sessions?: { readonly client: SessionKeeper; readonly server: ServerResumption["sessions"] };
  readonly bond?: string;
  readonly takeKey?: KeyTaker;
}

/** Both legs of the engine, one at each end of a connection. The peers of other makers are in test/interop/ssl3.test.ts. */
async function bothLegs(t: Pick<TestContext, "after">, options: Wanted = {}) {
  const { suite = 0x002f, versions = ONLY, sessions, bond = "", takeKey } = options;
  const [near, far] = await endPair(t);
  const hello = { ...HELLO, cipherSuites: [suite] };
  const common = { ...COMMON, takeKey };
  const returning = { bond: [bond], timeout: 60_000 };
  const toServer = sessions && { ...returning, sessions: sessions.server };
  const opening = openServerLeg(near, hello, { ...common, versions: ONLY, resumption: toServer });
  const seen = await readHello(far);
  const toClient = sessions && { ...returning, sessions: sessions.client, ticketKeys: [] };
  const [server, client] = await Promise.all([
    opening,
    openClientLeg(far, seen, { ...common, presented, alpn: undefined, versions, resumption: toClient }),
  ]);
  return { server, client, near, far };
}

/** Both legs up. `near`: the end with the server leg; `far`: the one with the client leg. */
async function bothUp(t: Pick<TestContext, "after">, options: Wanted = {}) {
  const { server, client, near, far } = await bothLegs(t, options);
  assert.ok(server.kind === "up" && client.kind === "up", JSON.stringify([server, client]));
  return { server, client, near, far };
}

async function pair(which: "client" | "server"): Promise<Pair> {
  const cleanup = new Cleanup();
  const { server, client, near, far } = await bothUp(cleanup);
  const [leg, end, other] = which === "client" ? [client, far, near] : [server, near, far];
  return { leg, end, peer: enginePeer(other), close: () => cleanup.close() };
}

testLeg("The client leg over SSL 3.0", () => pair("client"));
testLeg("The server leg over SSL 3.0", () => pair("server"));

test("A FIN without close_notify is a truncation, and not an end", async (t) => {
  for (const from of ["client", "server"] as const) {
    const { near, far } = await bothUp(t);
    const [sender, receiver] = from === "client" ? [near, far] : [far, near];
    await writeAll(sender, Buffer.from("cut off he"));
    sender.fin();
    const { bytes, last } = await readToEnd(receiver);
    assert.deepEqual([String(bytes), last], ["cut off he", TRUNCATED]);
  }
});

for (const how of ["close_notify", "a bare FIN"]) {
  test(`What came before the connection closed with ${how} is there for a reader that comes late`, async (t) => {
    const { near, far } = await bothUp(t);
    await writeAll(far, Buffer.alloc(100_000));
    if (how === "close_notify") assert.ok(far.finish());
    far.fin();
    await until([near], () => near.hasLeft || undefined, { timeout: 10_000, late: "No FIN came" });
    far.close();
    const { bytes, last } = await readToEnd(near);
    assert.equal(bytes.length, 100_000);
    assert.equal(last, how === "close_notify" ? END : TRUNCATED);
  });
}

test("A relay carries all that came before a missing close_notify, and then that it is missing", async (t) => {
  const [left, right] = [await bothUp(t), await bothUp(t)];
  // A server's peer, the node's two ends, a client's peer: the server sends more than any buffer holds, and a FIN.
  const [origin, reader] = [left.far, right.near];
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(right.far, left.near, { meter, taps: [], idle: 60_000 });
  const length = 3 * 2 ** 20;
  const [{ bytes, last }] = await Promise.all([
    readToEnd(reader),
    writeAll(origin, Buffer.alloc(length)).then(() => origin.fin()),
  ]);
  assert.deepEqual([bytes.length, last], [length, TRUNCATED]);
  assert.ok(reader.finish());
  reader.fin();
  assert.equal((await over).reason, "The server ended the connection without close_notify");
});

test("A TLS client sees that a server of SSL 3.0 was cut off", needs("openssl"), async (t) => {
  const left = await bothUp(t);
  const { accepted, port, close } = acceptOne();
  const program = spawn("openssl", ["s_client", "-quiet", "-connect", `127.0.0.1:${port}`], {
    stdio: ["pipe", "ignore", "pipe"],
  });
  t.after(() => program.kill());
  let told = "";
  program.stderr.setEncoding("utf8").on("data", (text: string) => {
    told += text;
  });
  const end = await accepted;
  close();
  const tls = { ...COMMON, presented, alpn: undefined, versions: ALL };
  const client = await openClientLeg(end, await readHello(end), tls);
  assert.ok(client.kind === "up", JSON.stringify(client));
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(end, left.near, { meter, taps: [], idle: 60_000 });
  await writeAll(left.far, Buffer.from("cut off he"));
  left.far.fin();
  await Promise.all([over, once(program, "close")]);
  assert.match(told, /unexpected eof while reading/);
});

test("The two sides say what they agreed on, with IANA's names", async (t) => {
  const { server, client } = await bothUp(t, { suite: 0x0005 });
  const negotiated = {
    version: "SSLv3",
    suite: "TLS_RSA_WITH_RC4_128_SHA",
    group: undefined,
    alpn: undefined,
    resumed: false,
  };
  assert.deepEqual([server.negotiated, client.negotiated], [negotiated, negotiated]);
  assert.equal(server.certificate.subject, "CN=recorded.test");
});

test("A handshake that fails says who refused, with the alert that carries it across", async (t) => {
  const { server, client } = await bothLegs(t, { suite: 0x002f, versions: { ...ONLY, ssl3Suites: "rc4" } });
  assert.ok(server.kind === "failed" && client.kind === "failed");
  assert.deepEqual([client.cause, client.alert], ["protocol", ALERTS.handshake_failure]);
  assert.match(client.reason, /^The handshake with the client failed: .*no cipher suite/);
  assert.deepEqual([server.cause, server.alert], ["alert", ALERTS.handshake_failure]);
});

test("A client that has gone, or goes, or says nothing, is told apart", async (t) => {
  const options = { ...COMMON, presented, alpn: undefined, versions: ONLY, timeout: 200 };
  const open = async (then: (near: End) => void) => {
    const [near, far] = await endPair(t);
    await writeAll(near, HELLO_BYTES);
    const leg = openClientLeg(far, HELLO, options);
    then(near);
    return leg;
  };
  const causes = await Promise.all([open((near) => near.fin()), open((near) => near.reset()), open(() => {})]);
  assert.deepEqual(
    causes.map((leg) => leg.kind === "failed" && [leg.cause, leg.code, leg.told?.version, leg.told?.suite]),
    [
      ["network", "EOF", "SSLv3", "TLS_RSA_WITH_AES_128_CBC_SHA"],
      ["network", "ECONNRESET", "SSLv3", "TLS_RSA_WITH_AES_128_CBC_SHA"],
      ["timeout", "ETIMEDOUT", "SSLv3", "TLS_RSA_WITH_AES_128_CBC_SHA"],
    ],
  );
});

test("Both legs come back to a session of the same bond, and of no other", async (t) => {
  const sessions = { client: keeper(), server: new ServerSessions<RememberedSession>(10) };
  const open = async (bond: string, suite = 0x002f) => {
    const { server, client } = await bothUp(t, { sessions, bond, suite });
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
  const sessions = { client: keeper(), server: new ServerSessions<RememberedSession>(10) };
  const fail = async () => {
    const [near, far] = await endAndSocket(t);
    far.once("readable", () => far.resetAndDestroy());
    const resumption = { sessions: sessions.server, bond: [""], timeout: 60_000 };
    const hello = { ...HELLO, cipherSuites: [0x002f] };
    const leg = await openServerLeg(near, hello, { ...COMMON, versions: ONLY, resumption });
    return leg.kind === "failed" && leg.resuming;
  };
  assert.equal(await fail(), false);
  await bothLegs(t, { sessions });
  assert.deepEqual([await fail(), await fail()], [true, false]);
});

for (const side of ["client", "server"] as const) {
  test(`Neither leg comes back to a session whose ${side} said something that ends it with a fatal alert`, async (t) => {
    const sessions = { client: keeper(), server: new ServerSessions<RememberedSession>(10) };
    const open = async () => {
      const { client, near, far } = await bothUp(t, { sessions });
      return { near, far, resumed: client.negotiated.resumed };
    };
    assert.equal((await open()).resumed, false);
    // One that was resumed, so that both have something to forget; one that was not.
    for (const resumed of [true, false]) {
      const again = await open();
      assert.equal(again.resumed, resumed);
      const { near, far } = again;
      const [speaker, hearer] = side === "server" ? [far, near] : [near, far];
      enginePeer(speaker).raw(record(23, 0x0300, Buffer.alloc(32)));
      const codes: (string | undefined)[] = [];
      for (const end of [hearer, speaker]) {
        assert.equal((await readToEnd(end)).last, BROKEN);
        codes.push(end.layer?.failure?.code);
        end.close();
      }
      assert.deepEqual(codes, ["ERR_SSL_BAD_RECORD_MAC", "ERR_SSL_SSL/TLS_ALERT_BAD_RECORD_MAC"]);
    }
    assert.equal((await open()).resumed, false);
    assert.equal((await open()).resumed, true);
  });
}

test("A leg's master secret goes to a key log when one is kept, and nowhere else", async (t) => {
  const lines: string[] = [];
  await bothUp(t, { takeKey: (line) => lines.push(line.toString()) });
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
  assert.equal(mayFallBack({ ...failure, cause: "protocol", alert: ALERTS.protocol_version }, ALL), true);
  assert.equal(mayFallBack({ ...failure, cause: "alert", alert: ALERTS.certificate_required }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "alert", alert: ALERTS.inappropriate_fallback }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "protocol", alert: ALERTS.decrypt_error }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "timeout" }, ALL), false);
  assert.equal(mayFallBack({ ...failure, cause: "alert" }, { min: "TLSv1", max: "TLSv1.3" }), false);
  // There was nothing newer to fall back from.
  assert.equal(mayFallBack({ ...failure, cause: "alert" }, ONLY), false);
});
