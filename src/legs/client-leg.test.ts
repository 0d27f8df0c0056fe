import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { type TestContext, test } from "node:test";
import { connect, createSecureContext, type SecureVersion, TLSSocket } from "node:tls";
import { nextChunk } from "../../test/clients.ts";
import { helloMessage, inRecords, serverNames } from "../../test/recorded/client-hello/build.ts";
import type { End } from "../engine/end.ts";
import { endAndSocket, readToEnd, writeAll } from "../engine/test-ends.ts";
import { until } from "../engine/wait.ts";
import { make } from "../pki/x509/test-chain.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { u16, u16s, vector8, vector16 } from "../wire/writer.ts";
import { openClientLeg } from "./client-leg.ts";
import { openServerLeg } from "./server-leg.ts";
import { COMMON, nodesHello, readHello } from "./test-pairs.ts";

const identity = await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]] });
const VERSIONS = { min: "TLSv1.2", max: "TLSv1.3" } as const;
const OPTIONS = {
  ...COMMON,
  presented: [{ certificatePem: identity.pem, keyPem: identity.keyPem }],
  alpn: undefined,
  versions: VERSIONS,
};
const TIME = { timeout: 10_000, late: "It did not come" };

/** A real client that has sent its hello, and the node's end that has read it. */
async function greeted(t: TestContext): Promise<{ client: Socket; near: End; hello: ClientHello }> {
  const [near, client] = await endAndSocket(t);
  connect({ socket: client, servername: "leg.test", rejectUnauthorized: false }).on("error", () => {});
  return { client, near, hello: await readHello(near) };
}

/** A peer's wire. Once it is `last`, what TLS says is sent in one piece at the next turn, and then the connection is reset. */
function wireOf(socket: Socket): Duplex & { last: boolean } {
  const held: Buffer[] = [];
  const wire = new Duplex({
    read: () => void socket.resume(),
    write(bytes: Buffer, _encoding, done) {
      if (!wire.last) socket.write(bytes);
      else if (held.push(bytes) === 1) {
        setImmediate(() => socket.write(Buffer.concat(held), () => socket.resetAndDestroy()));
      }
      done();
    },
  }) as Duplex & { last: boolean };
  socket.on("data", (bytes) => wire.push(bytes));
  return Object.assign(wire, { last: false });
}

test("A client that has reset its connection before its leg is opened is told of at once", async (t) => {
  const { client, near, hello } = await greeted(t);
  client.resetAndDestroy();
  await until([near], () => near.isReset || undefined, TIME);
  const leg = await openClientLeg(near, hello, OPTIONS);
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "network"]);
});

test("A client that has ended its stream before its leg is opened is told of at once", async (t) => {
  const { client, near, hello } = await greeted(t);
  // Below its TLS: all that it will ever send has been sent.
  client.end();
  await once(client, "finish");
  const leg = await openClientLeg(near, hello, OPTIONS);
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "network"]);
});

test("A client that resets its connection in the middle of the handshake is told of at once", async (t) => {
  const { client, near, hello } = await greeted(t);
  client.removeAllListeners("readable");
  const opened = openClientLeg(near, hello, OPTIONS);
  client.resetAndDestroy();
  const leg = await opened;
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "network"]);
});

test("A client that says nothing more in the handshake is given up after its time", async (t) => {
  const [near, client] = await endAndSocket(t);
  const hello = await nodesHello({});
  client.write("\x16");
  const leg = await openClientLeg(near, hello, { ...OPTIONS, timeout: 20 });
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "timeout"]);
  assert.equal(near.isOpen, false);
});

test("A leg that is reset the moment it is up does not bring the process down", async (t) => {
  for (let times = 0; times < 20; times += 1) {
    const { near, hello } = await greeted(t);
    const leg = await openClientLeg(near, hello, OPTIONS);
    assert.equal(leg.kind, "up");
    near.reset();
  }
});

/** Writes until the end is known to be broken: the kernel may hear of the reset later than it takes the first bytes. */
async function writeUntilBroken(end: End): Promise<void> {
  while (!end.isBroken) {
    await writeAll(end, Buffer.from("answer"));
    await new Promise(setImmediate);
  }
}

test("A client that resets the connection behind its last flight breaks a leg that is written to", async (t) => {
  const [near, client] = await endAndSocket(t);
  const wire = wireOf(client);
  const peer = connect({ socket: wire, servername: "leg.test", rejectUnauthorized: false }).on("error", () => {});
  const hello = await readHello(near);
  wire.last = true;
  peer.once("secureConnect", () => peer.write("asks for something"));
  const leg = await openClientLeg(near, hello, OPTIONS);
  assert.equal(leg.kind, "up");
  await readToEnd(near);
  await writeUntilBroken(near);
});

test("A server that resets the connection behind its flight breaks a leg that is written to", async (t) => {
  const hello = await nodesHello({});
  const [near, server] = await endAndSocket(t);
  const wire = wireOf(server);
  wire.last = true;
  const secureContext = createSecureContext({ cert: identity.pem, key: identity.keyPem });
  new TLSSocket(wire, { isServer: true, secureContext }).on("error", () => {});
  const leg = await openServerLeg(near, hello, { ...COMMON, versions: VERSIONS });
  assert.equal(leg.kind, "up", JSON.stringify(leg));
  await readToEnd(near);
  await writeUntilBroken(near);
});

/** A hello of TLS 1.3 that names this host; without a share the server asks for another one. */
function helloFor(name: string | undefined, share: Buffer): Buffer {
  return inRecords(
    helloMessage({
      extensions: [
        ...(name === undefined ? [] : [[0, serverNames([0, name])] as const]),
        [10, vector16(u16s([0x001d]))],
        [13, vector16(u16s([0x0403]))],
        [43, vector8(u16s([0x0304]))],
        [51, vector16(share)],
      ],
    }),
  );
}

const SHARE = Buffer.concat([u16(0x001d), vector16(Buffer.alloc(32, 9))]);

for (const [second, isSame] of [
  ["leg.test", true],
  ["other.test", false],
  [undefined, false],
] as const) {
  test(`A second hello that names ${second ?? "no host"} is ${isSame ? "answered" : "refused with illegal_parameter"}`, async (t) => {
    const [near, client] = await endAndSocket(t);
    client.write(helloFor("leg.test", Buffer.alloc(0)));
    const hello = await readHello(near);
    const opened = openClientLeg(near, hello, { ...OPTIONS, timeout: 10_000 });
    // A HelloRetryRequest is a ServerHello.
    const retry = await next(client);
    assert.deepEqual([retry[0], retry[5]], [22, 2]);
    client.write(helloFor(second, SHARE));
    const answer = await next(client);
    if (isSame) assert.deepEqual([answer[0], answer[5]], [22, 2]);
    else assert.equal(answer.subarray(0, 7).toString("hex"), "1503030002022f");
    client.resetAndDestroy();
    const leg = await opened;
    assert.equal(leg.kind, "failed");
    if (isSame || leg.kind !== "failed") return;
    assert.equal(leg.alert, 47);
    assert.match(leg.reason, /its second ClientHello names another host$/);
  });
}

/** The next bytes, behind a change_cipher_spec of the middlebox compatibility mode. */
async function next(socket: Socket): Promise<Buffer> {
  const bytes = (await nextChunk(socket)) ?? Buffer.alloc(0);
  const rest = bytes[0] === 20 ? bytes.subarray(6) : bytes;
  return rest.length > 0 || bytes.length === 0 ? rest : next(socket);
}

/** The first bytes of a real client that speaks this version only. */
function helloBytes(version: SecureVersion): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read() {}, write: (bytes: Buffer) => resolve(bytes) });
    const only = { minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" } as const;
    connect({ socket: wire, servername: "leg.test", ...only }).on("error", () => {});
  });
}

for (const version of ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const) {
  for (const how of ["closed", "reset"] as const) {
    test(`A client that has ${how} the connection instead of its last flight was told the version and the suite, ${version}`, async (t) => {
      const [near, client] = await endAndSocket(t);
      client.write(await helloBytes(version));
      const hello = await readHello(near);
      const opened = openClientLeg(near, hello, { ...OPTIONS, versions: { min: "TLSv1", max: "TLSv1.3" } });
      assert.equal((await next(client))[0], 22);
      if (how === "closed") client.end();
      else client.resetAndDestroy();
      const leg = await opened;
      assert.ok(leg.kind === "failed");
      assert.deepEqual([leg.cause, leg.told?.version, leg.told?.resumed], ["network", version, false]);
      assert.match(leg.told?.suite ?? "", /^TLS_[A-Z0-9_]+$/);
      // Below TLS 1.3 the client's Finished comes first.
      const when = version === "TLSv1.3" ? "right after the node's Finished, without its own" : "during the handshake";
      assert.equal(leg.reason, `The client ${how} the connection ${when}`);
    });
  }
}

test("A client that leaves after a HelloRetryRequest was told no group, and one that was refused was told nothing", async (t) => {
  const [near, client] = await endAndSocket(t);
  client.write(helloFor("leg.test", Buffer.alloc(0)));
  const opened = openClientLeg(near, await readHello(near), OPTIONS);
  assert.equal((await next(client))[0], 22);
  client.end();
  const left = await opened;
  assert.ok(left.kind === "failed");
  assert.deepEqual([left.told?.version, left.told?.group], ["TLSv1.3", undefined]);
  assert.equal(left.reason, "The client closed the connection during the handshake");

  const [other, old] = await endAndSocket(t);
  old.write(await helloBytes("TLSv1.1"));
  const refused = await openClientLeg(other, await readHello(other), OPTIONS);
  assert.ok(refused.kind === "failed");
  assert.deepEqual([refused.cause, refused.told], ["protocol", undefined]);
});
