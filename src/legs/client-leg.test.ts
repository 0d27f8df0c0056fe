import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { type TestContext, test } from "node:test";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import { make } from "../pki/x509/test-chain.ts";
import { readUntil } from "../streams/reading.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { openClientLeg } from "./client-leg.ts";
import { createContextCache } from "./contexts.ts";
import { openServerLeg } from "./server-leg.ts";
import { tcpPair } from "./test-pairs.ts";

const identity = await make({ subject: "CN=leg.test", names: [["dns", "leg.test"]] });
const OPTIONS = {
  presented: [{ certificatePem: identity.pem, keyPem: identity.keyPem }],
  alpn: undefined,
  versions: { min: "TLSv1.2", max: "TLSv1.3" },
  timeout: 60_000,
  contexts: createContextCache(10),
} as const;

/** A real client that has sent its hello, and the node's end that has read it. */
async function greeted(t: TestContext): Promise<{ client: Socket; near: Socket; opening: Opening }> {
  const [client, near] = await tcpPair(t);
  connect({ socket: client, servername: "leg.test", rejectUnauthorized: false }).on("error", () => {});
  return { client, near, opening: await readOpening(near) };
}

async function readOpening(near: Socket): Promise<Opening> {
  const reader = createClientHelloReader();
  const { answer, client: bytes } = await readUntil(
    { client: near },
    (_side, chunk) => {
      const sighting = reader.push(chunk);
      return sighting.kind === "hello" ? sighting : undefined;
    },
    { silence: 5_000, gap: 5_000 },
  );
  return { hello: answer!.hello, bytes };
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

type Opening = { readonly hello: ClientHello; readonly bytes: Buffer };

test("A client that has reset its connection before its leg is opened is told of at once", async (t) => {
  const { client, near, opening } = await greeted(t);
  client.resetAndDestroy();
  await new Promise((resolve) => near.once("close", resolve));
  const leg = await openClientLeg(near, opening, OPTIONS);
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "network"]);
});

test("A client that has ended its stream before its leg is opened is told of at once", async (t) => {
  const { client, near, opening } = await greeted(t);
  // Below its TLS: all that it will ever send has been sent.
  client.end();
  await once(client, "finish");
  const leg = await openClientLeg(near, opening, OPTIONS);
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "network"]);
});

test("A client that resets its connection in the middle of the handshake is told of at once", async (t) => {
  const { client, near, opening } = await greeted(t);
  client.removeAllListeners("readable");
  const opened = openClientLeg(near, opening, OPTIONS);
  client.resetAndDestroy();
  const leg = await opened;
  assert.deepEqual([leg.kind, leg.kind === "failed" && leg.cause], ["failed", "network"]);
});

test("A leg that is reset the moment it is up does not bring the process down", async (t) => {
  for (let times = 0; times < 20; times += 1) {
    const { near, opening } = await greeted(t);
    const leg = await openClientLeg(near, opening, OPTIONS);
    assert.equal(leg.kind, "up");
    near.resetAndDestroy();
    if (leg.kind === "up") leg.stream.destroy();
  }
});

test("A client that resets the connection behind its last flight breaks a leg that is written to", async (t) => {
  const [client, near] = await tcpPair(t);
  const wire = wireOf(client);
  const peer = connect({ socket: wire, servername: "leg.test", rejectUnauthorized: false }).on("error", () => {});
  const opening = await readOpening(near);
  wire.last = true;
  peer.once("secureConnect", () => peer.write("asks for something"));
  const leg = await openClientLeg(near, opening, OPTIONS);
  assert.equal(leg.kind, "up");
  if (leg.kind !== "up") return;
  leg.stream.resume();
  await once(leg.stream, "end");
  leg.stream.write("answer");
  await assert.rejects(once(leg.stream, "close"), { code: "EPIPE" });
});

test("A server that resets the connection behind its flight breaks a leg that is written to", async (t) => {
  const { near, opening } = await greeted(t);
  near.destroy();
  const [socket, server] = await tcpPair(t);
  const wire = wireOf(server);
  wire.last = true;
  const secureContext = createSecureContext({ cert: identity.pem, key: identity.keyPem });
  new TLSSocket(wire, { isServer: true, secureContext }).on("error", () => {});
  const { versions, timeout, contexts } = OPTIONS;
  const leg = await openServerLeg(socket, opening.hello, { versions, timeout, contexts });
  assert.equal(leg.kind, "up");
  if (leg.kind !== "up") return;
  leg.stream.resume();
  await once(leg.stream, "end");
  leg.stream.write("question");
  await assert.rejects(once(leg.stream, "close"), { code: "EPIPE" });
});
