import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { make } from "../pki/x509/test-chain.ts";
import { createClient } from "../ssl3/client.ts";
import { createServer } from "../ssl3/server.ts";
import { suitesFor } from "../ssl3/suites.ts";
import { VERSIONS } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import { checkEngine } from "./check.ts";
import { Context, type ContextOptions, liveContexts } from "./contexts.ts";
import type { End } from "./end.ts";
import { type Agreed, BROKEN, END, type Layer, type LayerFailure, RESET, TRUNCATED } from "./layer.ts";
import { crypto, memory, ssl } from "./native.ts";
import { liveConnections, OpensslLayer, type OpensslOptions } from "./openssl-layer.ts";
import { relay } from "./relay.ts";
import type { Session } from "./session.ts";
import { Ssl3Layer } from "./ssl3-layer.ts";
import { acceptOne, endAndSocket, endPair, readBytes, readToEnd, shake, writeAll, writer } from "./test-ends.ts";
import { request } from "./test-peers.ts";
import { until } from "./wait.ts";

checkEngine();

const MIB = 1024 * 1024;
const TIME = { timeout: 10_000, late: "It did not come" };
const { pem, keyPem } = await make({ subject: "CN=layers.test", names: [["dns", "layers.test"]] });
const identities = [{ certificatePem: pem, keyPem }];
const SUITES = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA";

type Role = "client" | "server";

/** One version of what can stand on a connection. */
interface Kind {
  readonly name: string;
  readonly version: number;
  layer(end: End, role: Role): Layer;
}

function contextOf(role: Role, version: number, more: Partial<ContextOptions> = {}): Context {
  const common = {
    ...{ minVersion: version, maxVersion: version, tickets: false, sessions: false, keyLog: false },
    ciphers: version < VERSIONS["TLSv1.2"] ? `${SUITES}:@SECLEVEL=0` : SUITES,
  };
  return role === "client"
    ? new Context({ role, ...common, alpn: [], ...(more as object) })
    : new Context({ role, ...common, identities, sessionTimeout: 300, ...(more as object) });
}

function tls(name: string, version: number): Kind {
  const contexts = { client: contextOf("client", version), server: contextOf("server", version) };
  const layer = (end: End, role: Role) => new OpensslLayer({ end, writer, context: contexts[role] });
  return { name, version, layer };
}

const ssl3: Kind = {
  name: "SSL 3.0",
  version: VERSIONS.SSLv3,
  layer(end, role) {
    const identity = { chain: [new X509Certificate(pem).raw], key: createPrivateKey(keyPem) };
    const suites = suitesFor("all").map(({ id }) => id);
    const connection =
      role === "client"
        ? createClient({ random: randomBytes, suites, dhBits: 4096, fallback: false, session: undefined })
        : createServer({
            ...{ random: randomBytes, identities: [identity], suites: "all" as const, highest: VERSIONS["TLSv1.3"] },
            find: undefined,
          });
    return new Ssl3Layer(end.takeWire(), connection);
  },
};

const KINDS = [
  tls("TLS 1.0", VERSIONS.TLSv1),
  tls("TLS 1.1", VERSIONS["TLSv1.1"]),
  tls("TLS 1.2", VERSIONS["TLSv1.2"]),
  tls("TLS 1.3", VERSIONS["TLSv1.3"]),
  ssl3,
];
const [tls12, tls13] = [KINDS[2]!, KINDS[3]!];

/** Two ends with a layer each, up. */
async function layered(t: TestContext, kind: Kind, pair?: [End, End]): Promise<[End, End]> {
  const [near, far] = pair ?? (await endPair(t));
  const outcomes = await Promise.all([shake(near, kind.layer(near, "client")), shake(far, kind.layer(far, "server"))]);
  for (const { agreed } of outcomes) assert.equal((agreed as Agreed).version, kind.version, JSON.stringify(agreed));
  return [near, far];
}

/** What every layer must do, whichever implementation is behind it. The relay relies on each of these. */
for (const kind of KINDS) {
  const { name } = kind;

  test(`${name}: bytes go both ways at once, unchanged and in order`, async (t) => {
    const [near, far] = await layered(t, kind);
    const bytes = randomBytes(3 * MIB + 1);
    await writeAll(near, bytes.subarray(0, 10));
    assert.ok((await readBytes(far, 10)).bytes.equals(bytes.subarray(0, 10)));
    const [{ bytes: there }] = await Promise.all([readBytes(far, bytes.length), writeAll(near, bytes)]);
    const [{ bytes: back }] = await Promise.all([readBytes(near, bytes.length), writeAll(far, bytes)]);
    assert.ok(there.equals(bytes) && back.equals(bytes));
  });

  test(`${name}: close_notify ends one direction, and the other goes on`, async (t) => {
    const [near, far] = await layered(t, kind);
    await writeAll(near, Buffer.from("last"));
    assert.ok(near.finish());
    near.fin();
    const { bytes, last } = await readToEnd(far);
    assert.deepEqual([bytes.toString(), last], ["last", END]);
    await writeAll(far, Buffer.from("after"));
    assert.equal((await readBytes(near, 5)).bytes.toString(), "after");
    assert.equal(far.layer!.alertReceived, ALERTS.close_notify);
    assert.equal(near.layer!.alertSent, ALERTS.close_notify);
  });

  test(`${name}: a FIN without close_notify is a truncation, behind all that came before`, async (t) => {
    const [near, far] = await layered(t, kind);
    await writeAll(near, Buffer.from("some"));
    near.fin();
    const { bytes, last } = await readToEnd(far);
    assert.deepEqual([bytes.toString(), last], ["some", TRUNCATED]);
  });

  test(`${name}: bytes that are no record break the connection and no other`, async (t) => {
    const [near, far] = await layered(t, kind);
    const [other, otherFar] = await layered(t, kind);
    // Past the layer, onto the connection itself.
    const garbage = Buffer.alloc(64, 0x17);
    garbage.copy(near.loop.scratch);
    near.send(near.loop.scratchAt, garbage.length);
    assert.equal((await readToEnd(far)).last, BROKEN);
    assert.equal(far.layer!.failure!.cause, "protocol");
    assert.ok(far.layer!.alertSent !== undefined);
    // The other side hears the alert.
    assert.equal((await readToEnd(near)).last, BROKEN);
    assert.deepEqual(near.layer!.failure!.cause, "alert");
    await writeAll(other, Buffer.from("still here"));
    assert.equal((await readBytes(otherFar, 10)).bytes.toString(), "still here");
  });

  test(`${name}: a peer that leaves in the middle of the handshake ends it`, async (t) => {
    const [near, peer] = await endAndSocket(t);
    const shaking = shake(near, kind.layer(near, "client"));
    peer.once("readable", () => peer.end());
    const { agreed } = await shaking;
    assert.deepEqual([(agreed as { cause?: string }).cause, (agreed as { code?: string }).code], ["network", "EOF"]);
  });

  test(`${name}: under backpressure every session's bytes reach its own peer`, async (t) => {
    const pairs = await Promise.all(Array.from({ length: 12 }, () => layered(t, kind)));
    const sent = pairs.map((_, index) => Buffer.alloc(2 * MIB, `${index} of ${name} `));
    // All write far more than the sockets take before anybody reads.
    const writing = pairs.map(([near], index) => writeAll(near, sent[index]!));
    await new Promise(setImmediate);
    const read = await Promise.all(pairs.map(([, far], index) => readBytes(far, sent[index]!.length)));
    await Promise.all(writing);
    for (const [index, { bytes }] of read.entries()) assert.ok(bytes.equals(sent[index]!), `session ${index}`);
    assert.equal(writer.lent, 0);
  });

  for (const outer of [tls12, tls13]) {
    test(`${name} inside of ${outer.name}: bytes, half-close and end`, async (t) => {
      const [near, far] = await layered(t, kind, await layered(t, outer));
      const bytes = randomBytes(MIB + 3);
      const [{ bytes: there }] = await Promise.all([readBytes(far, bytes.length), writeAll(near, bytes)]);
      const [{ bytes: back }] = await Promise.all([readBytes(near, bytes.length), writeAll(far, bytes)]);
      assert.ok(there.equals(bytes) && back.equals(bytes));
      assert.ok(near.finish());
      near.fin();
      assert.equal((await readToEnd(far)).last, END);
      await writeAll(far, Buffer.from("after"));
      assert.equal((await readBytes(near, 5)).bytes.toString(), "after");
    });
  }
}

test("A relay carries between any two layers, and truncations only where both have TLS", async (t) => {
  for (const left of [tls12, tls13, ssl3]) {
    for (const right of [tls13, ssl3]) {
      const [client, near] = await layered(t, left);
      const [far, server] = await layered(t, right);
      const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
      const ends: unknown[] = [];
      const tap = { data() {}, end: (...end: unknown[]) => ends.push(end), reset() {}, pressure: () => undefined };
      const over = relay(near, far, { meter, taps: [tap], idle: 60_000 });
      const bytes = randomBytes(MIB);
      const [{ bytes: there }] = await Promise.all([readBytes(server, bytes.length), writeAll(client, bytes)]);
      assert.ok(there.equals(bytes), `${left.name} to ${right.name}`);
      client.fin();
      assert.equal((await readToEnd(server)).last, TRUNCATED);
      await writeAll(server, Buffer.from("the rest"));
      assert.ok(server.finish());
      server.fin();
      const { bytes: rest, last } = await readToEnd(client);
      assert.deepEqual([rest.toString(), last], ["the rest", END], `${left.name}, ${right.name}`);
      assert.equal((await over).reason, "The client ended the connection without close_notify");
      assert.deepEqual(ends, [
        ["client", true],
        ["server", false],
      ]);
    }
  }
});

test("A FIN alone that answers a close_notify is no truncation, and is carried as it is", async (t) => {
  for (const right of [tls13, ssl3]) {
    const [client, near] = await layered(t, tls12);
    const [far, server] = await layered(t, right);
    const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
    const over = relay(near, far, { meter, taps: [], idle: 60_000 });
    assert.ok(client.finish());
    client.fin();
    assert.equal((await readToEnd(server)).last, END);
    await writeAll(server, Buffer.from("the rest"));
    server.fin();
    const { bytes, last } = await readToEnd(client);
    assert.deepEqual([bytes.toString(), last], ["the rest", TRUNCATED]);
    const { reason, failure, serverLeft } = await over;
    assert.deepEqual([reason, failure, serverLeft], ["The client closed the connection", undefined, "closed"]);
  }
});

test("A server's demand for a client certificate is known before it is answered, in every version", async (t) => {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const [near, peer] = await endAndSocket(t);
    request(peer, { pem, keyPem, version, requestCert: true });
    const layer = new OpensslLayer({ end: near, writer, context: contextOf("client", VERSIONS[version]) });
    const { steps } = await shake(near, layer);
    assert.deepEqual(steps, ["certificate wanted", "up"], version);
    const [without, other] = await endAndSocket(t);
    request(other, { pem, keyPem, version, requestCert: false });
    const second = new OpensslLayer({ end: without, writer, context: contextOf("client", VERSIONS[version]) });
    assert.deepEqual((await shake(without, second)).steps, ["up"], version);
  }
});

test("A client that refuses the certificate is known by its alert's number", async () => {
  const { accepted, port, close } = acceptOne();
  const to = ["-connect", `127.0.0.1:${port}`, "-tls1_3", "-no-CAfile", "-no-CApath", "-verify_return_error"];
  const client = spawn("openssl", ["s_client", ...to], { stdio: "ignore" });
  const end = await accepted;
  const layer = new OpensslLayer({ end, writer, context: contextOf("server", VERSIONS["TLSv1.3"]) });
  // The alert comes in the place of the client's last flight.
  const { agreed } = await shake(end, layer);
  assert.deepEqual([(agreed as LayerFailure).cause, layer.failure!.cause], ["alert", "alert"]);
  assert.equal(layer.failure!.alert, ALERTS.unknown_ca);
  assert.equal(layer.alertReceived, ALERTS.unknown_ca);
  await once(client, "exit");
  end.close();
  close();
});

test("A session is resumed where its bond is the same, by identifier, by ticket and in TLS 1.3", async (t) => {
  for (const [version, tickets] of [
    [VERSIONS["TLSv1.2"], false],
    [VERSIONS["TLSv1.2"], true],
    [VERSIONS["TLSv1.3"], true],
  ] as const) {
    const ticketKey = randomBytes(80);
    const client = contextOf("client", version, { sessions: true, tickets });
    const server = contextOf("server", version, { sessions: true, tickets, ...(tickets && { ticketKey }) });
    const kept: { taken?: Session; made?: Buffer } = {};
    const visit = async (bond: string, more: Partial<OpensslOptions> = {}) => {
      const [near, far] = await endPair(t);
      const taken = (session: Session) => {
        kept.taken?.release();
        kept.taken = session;
      };
      const made = (_: Buffer, session: Buffer) => {
        kept.made = session;
      };
      const own = Buffer.from(bond);
      const [{ agreed }] = await Promise.all([
        shake(near, new OpensslLayer({ end: near, writer, context: client, onServerSession: taken, ...more })),
        shake(
          far,
          new OpensslLayer({ end: far, writer, context: server, onSession: made, bond: own, resumable: kept.made }),
        ),
      ]);
      await writeAll(far, Buffer.from("x"));
      await readBytes(near, 1);
      near.close();
      far.close();
      return (agreed as Agreed).resumed;
    };
    const how = `${version.toString(16)} ${tickets ? "ticket" : "identifier"}`;
    assert.equal(await visit("one"), false, how);
    assert.equal(await visit("one", { session: kept.taken }), true, how);
    assert.equal(await visit("another", { session: kept.taken }), false, how);
  }
});

test("What a hello asks for is what is agreed: ALPN, group, the certificate that is shown", async (t) => {
  const [near, far] = await endPair(t);
  const client = contextOf("client", VERSIONS["TLSv1.3"], {
    alpn: ["h2", "http/1.1"],
    groups: "*X25519MLKEM768:X25519",
  } as object);
  const server = contextOf("server", VERSIONS["TLSv1.3"]);
  const own = new OpensslLayer({ end: far, writer, context: server, alpn: "http/1.1" });
  const peer = new OpensslLayer({ end: near, writer, context: client, serverName: "layers.test" });
  const [{ agreed }] = await Promise.all([shake(near, peer), shake(far, own)]);
  assert.deepEqual(agreed, {
    ...{
      version: VERSIONS["TLSv1.3"],
      suite: "TLS_AES_128_GCM_SHA256",
      group: "X25519MLKEM768",
      alpn: "http/1.1",
      resumed: false,
    },
  });
  assert.ok(peer.peerChain()[0]!.equals(new X509Certificate(pem).raw));
  assert.equal(own.shownIdentity(), 0);
});

test("A context is not made from what OpenSSL cannot use, and nothing of it is left", () => {
  const before = liveContexts();
  const common = { minVersion: 0x0303, maxVersion: 0x0304, tickets: false, sessions: false, keyLog: false } as const;
  const server = { role: "server", ...common, ciphers: SUITES, sessionTimeout: 1 } as const;
  const client = { role: "client", ...common, alpn: [] } as const;
  assert.throws(() => new Context({ ...client, ciphers: "NO-SUCH-SUITE" }), { name: "ConfigError" });
  assert.throws(() => new Context({ ...client, ciphers: SUITES, groups: "no-such-group" }), { name: "ConfigError" });
  assert.throws(() => new Context({ ...server, identities: [{ certificatePem: "", keyPem }] }), {
    name: "ConfigError",
  });
  assert.throws(() => new Context({ ...server, identities: [{ certificatePem: pem, keyPem: "" }] }), {
    name: "ConfigError",
  });
  assert.equal(liveContexts(), before);
});

test("Nothing of OpenSSL's is left when the ends are closed", async (t) => {
  const before = liveConnections();
  for (let round = 0; round < 20; round += 1) {
    const [near, far] = await layered(t, round % 2 === 0 ? tls12 : tls13);
    near.close();
    far.reset();
  }
  assert.equal(liveConnections(), before);
});

test("What breaks TLS on one side of a relay resets the other: a broken stream must not look complete", async (t) => {
  for (const kind of KINDS) {
    const [client, near] = await layered(t, kind);
    const [far, server] = await endPair(t);
    const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
    const over = relay(near, far, { meter, taps: [], idle: 60_000 });
    await writeAll(client, Buffer.from("good"));
    assert.equal(String((await readBytes(server, 4)).bytes), "good");
    const record = Buffer.from([23, 3, 3, 0, 32, ...Buffer.alloc(32, 7)]);
    record.copy(client.loop.scratch);
    client.send(client.loop.scratchAt, record.length);
    assert.equal((await readToEnd(server)).last, RESET, kind.name);
    const { reason, failure, serverLeft } = await over;
    assert.match(reason, /^The client's connection broke: ERR_SSL_/);
    assert.deepEqual([failure?.side, serverLeft], ["client", null]);
  }
});

test("A reset crosses TLS as a reset", async (t) => {
  for (const kind of KINDS) {
    const [client, near] = await layered(t, kind);
    const [far, server] = await endPair(t);
    const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
    const over = relay(near, far, { meter, taps: [], idle: 60_000 });
    server.reset();
    assert.equal((await readToEnd(client)).last, RESET, kind.name);
    assert.equal((await over).serverLeft, "reset");
  }
});

test("Bytes that were put back before TLS began are the first that it reads, however many", async (t) => {
  for (const kind of KINDS) {
    const [near, far] = await endPair(t);
    const client = shake(near, kind.layer(near, "client"));
    // The whole hello is taken off the connection, as a long one is.
    const hello = await until([far], () => far.peek()?.length, TIME);
    far.unread((await readBytes(far, hello)).bytes);
    const outcomes = await Promise.all([client, shake(far, kind.layer(far, "server"))]);
    for (const { agreed } of outcomes) assert.equal((agreed as Agreed).version, kind.version, JSON.stringify(agreed));
    const bytes = randomBytes(MIB);
    const [there] = await Promise.all([readBytes(far, bytes.length), writeAll(near, bytes)]);
    assert.ok(there.bytes.equals(bytes), kind.name);
  }
});

test("A connection goes on as another end with all of its layers and what waits in them", async (t) => {
  for (const kind of KINDS) {
    for (const pair of [undefined, tls13]) {
      const [near, before] = await layered(t, kind, pair && (await layered(t, pair)));
      before.writeBytes(Buffer.from("earlier"));
      const far = before.detach();
      t.after(() => far.close());
      // The old end's descriptor goes to somebody else.
      const [other, another] = await endPair(t);
      assert.equal(String((await readBytes(near, 7)).bytes), "earlier");
      const bytes = randomBytes(MIB);
      const [there] = await Promise.all([readBytes(far, bytes.length), writeAll(near, bytes)]);
      const [back] = await Promise.all([readBytes(near, bytes.length), writeAll(far, bytes)]);
      assert.ok(there.bytes.equals(bytes) && back.bytes.equals(bytes), kind.name);
      assert.deepEqual([before.isOpen, before.isBroken], [false, false]);
      await writeAll(before, Buffer.from("into nothing"));
      assert.equal((await readToEnd(before)).last, END);
      await writeAll(other, Buffer.from("theirs"));
      assert.equal(String((await readBytes(another, 6)).bytes), "theirs");
    }
  }
});

/** A context that tells which SSL it has made last. */
class Watched extends Context {
  last = 0;

  override connection(): number {
    this.last = super.connection();
    return this.last;
  }
}

test("In TLS 1.3 the keys of the exchange are erased once the handshake is over, and what follows goes on without them", async (t) => {
  const [tmpKey, peerTmpKey, x25519] = [133, 109, 1034];
  const word = memory(8);
  for (const groups of ["P-256", "X25519MLKEM768", "ffdhe2048"]) {
    const versions = { minVersion: VERSIONS["TLSv1.3"], maxVersion: VERSIONS["TLSv1.3"], ciphers: SUITES, groups };
    const common = { ...versions, tickets: true, sessions: true, keyLog: false };
    const contexts = [
      new Watched({ role: "client", ...common, alpn: [] }),
      new Watched({ role: "server", ...common, identities, sessionTimeout: 300 }),
    ] as const;
    const ends = await endPair(t);
    const layers = ends.map((end, index) => new OpensslLayer({ end, writer, context: contexts[index]! }));
    await Promise.all(ends.map((end, index) => shake(end, layers[index]!)));
    for (const { last } of contexts) {
      let kept = 0;
      for (const which of [tmpKey, peerTmpKey]) {
        if (ssl.ctrlMemory(last, which, 0, word) <= 0) continue;
        const key = Number(word.readBigUInt64LE());
        kept += 1;
        assert.equal(crypto.EVP_PKEY_get_base_id(key), x25519, groups);
        crypto.EVP_PKEY_free(key);
      }
      assert.ok(kept > 0, groups);
    }
    const [near, far] = ends;
    await writeAll(near, Buffer.from("there"));
    assert.equal(String((await readBytes(far, 5)).bytes), "there");
    await writeAll(far, Buffer.from("back"));
    assert.equal(String((await readBytes(near, 4)).bytes), "back");
    assert.ok(layers.every((layer) => layer.agreed().group !== undefined && layer.peerStrength().dhBits === undefined));
    for (const end of ends) end.close();
    for (const context of contexts) context.release();
  }
});

test("A layer that is asked after its connection was closed throws, and does not crash", async (t) => {
  const [near, far] = await layered(t, tls13);
  const layer = far.layer as OpensslLayer;
  far.close();
  near.close();
  for (const ask of [
    () => layer.agreed(),
    () => layer.peerChain(),
    () => layer.staple(),
    () => layer.shownIdentity(),
  ]) {
    assert.throws(ask, { name: "NetworkError", code: "ECONNRESET" });
  }
});
