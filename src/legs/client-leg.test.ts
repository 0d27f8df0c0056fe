import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { connect } from "node:tls";
import { readUntil } from "../capture/reading.ts";
import { make } from "../pki/test-chain.ts";
import { type ClientHello, createClientHelloReader } from "../wire/client-hello.ts";
import { openClientLeg } from "./client-leg.ts";
import { createContextCache } from "./contexts.ts";
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
  const reader = createClientHelloReader();
  const { answer, client: bytes } = await readUntil(
    { client: near },
    (_side, chunk) => {
      const sighting = reader.push(chunk);
      return sighting.kind === "hello" ? sighting : undefined;
    },
    { silence: 5_000, gap: 5_000 },
  );
  return { client, near, opening: { hello: answer!.hello, bytes } };
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
