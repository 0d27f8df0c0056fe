import assert from "node:assert/strict";
import { test } from "node:test";
import { ALERTS, fatalAlert } from "../wire/alert.ts";
import { checkEngine } from "./check.ts";
import { Context } from "./contexts.ts";
import type { LayerFailure } from "./layer.ts";
import { OpensslLayer } from "./openssl-layer.ts";
import { endAndSocket, shake, writer } from "./test-ends.ts";

checkEngine();

/** close_notify is no error. */
const NAMED = Object.entries(ALERTS).filter(([name]) => name !== "close_notify");
const CLIENT = new Context({
  ...{ role: "client", minVersion: 0x0303, maxVersion: 0x0304, alpn: [] },
  ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
  ...{ tickets: false, sessions: false, keyLog: false },
});

/** Why a client's handshake fails when the server answers its hello with these bytes and ends, or resets. */
async function handshakeFailure(answer: Uint8Array, reset = false): Promise<LayerFailure> {
  const cleanup: (() => unknown)[] = [];
  const [end, peer] = await endAndSocket({ after: (step) => void cleanup.push(step as () => unknown) });
  peer.resume().once("data", () => void (reset ? peer.resetAndDestroy() : peer.end(answer)));
  const { agreed } = await shake(end, new OpensslLayer({ end, writer, context: CLIENT }));
  for (const step of cleanup) step();
  return agreed as LayerFailure;
}

for (const [name, number] of NAMED) {
  test(`The alert ${name} is known by its number`, async () => {
    const { cause, alert, code } = await handshakeFailure(fatalAlert(number));
    assert.deepEqual([cause, alert], ["alert", number]);
    assert.match(code, /^ERR_SSL_/);
  });
}

test("An end in the middle of a handshake is told from a reset", async () => {
  const ended = await handshakeFailure(Buffer.alloc(0));
  assert.deepEqual([ended.cause, ended.code], ["network", "EOF"]);
  const reset = await handshakeFailure(Buffer.alloc(0), true);
  assert.deepEqual([reset.cause, reset.code], ["network", "ECONNRESET"]);
});

test("What is not TLS is the server's fault, and has an alert for the client", async () => {
  const { cause, alert, code } = await handshakeFailure(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
  assert.deepEqual([cause, alert], ["protocol", ALERTS.handshake_failure]);
  assert.match(code, /^ERR_SSL_/);
});

test("A server of an older version than was offered is refused with protocol_version", async () => {
  // A ServerHello of TLS 1.0: version, random, no session, a suite, no compression.
  const body = Buffer.from(`0301${"07".repeat(32)}00c00900`, "hex");
  const message = Buffer.concat([Buffer.from([2, 0, 0, body.length]), body]);
  const { cause, alert } = await handshakeFailure(Buffer.concat([Buffer.from([22, 3, 1, 0, message.length]), message]));
  assert.deepEqual([cause, alert], ["protocol", ALERTS.protocol_version]);
});
