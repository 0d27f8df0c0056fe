import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { connect } from "node:tls";
import { ALERTS, fatalAlert } from "../wire/alert.ts";
import { explainFailure, receivedAlert } from "./openssl-errors.ts";

/** close_notify is no error; for ech_required (RFC 9849) OpenSSL 3.5 has no word, and Node is silent about what has none. */
const NAMED = Object.entries(ALERTS).filter(([name]) => name !== "close_notify" && name !== "ech_required");

/** A real client's error, when a server answers its hello with these bytes and ends, or resets. */
async function handshakeError(answer: Uint8Array, reset = false): Promise<NodeJS.ErrnoException> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => void (reset ? socket.resetAndDestroy() : socket.end(answer)));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [error] = await once(client, "error");
  client.destroy();
  server.close();
  return error;
}

for (const [name, number] of NAMED) {
  test(`The alert ${name} is known by the code that OpenSSL gives it`, async () => {
    const error = await handshakeError(fatalAlert(number));
    assert.equal(receivedAlert(error), number, `${error.code}`);
    const { cause, alert, reason } = explainFailure("server", error);
    assert.deepEqual([cause, alert], ["alert", number]);
    assert.equal(reason, `The server refused the handshake: ${name}`);
  });
}

test("An end in the middle of a handshake is told from a reset", async () => {
  const ended = explainFailure("server", await handshakeError(Buffer.alloc(0)));
  assert.deepEqual([ended.cause, ended.code], ["network", "EOF"]);
  assert.match(ended.reason, /closed the connection/);
  const reset = explainFailure("server", await handshakeError(Buffer.alloc(0), true));
  assert.deepEqual([reset.cause, reset.code], ["network", "ECONNRESET"]);
  assert.match(reset.reason, /reset the connection/);
});

test("What is not TLS is the server's fault, and has an alert for the client", async () => {
  const failure = explainFailure("server", await handshakeError(Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")));
  assert.equal(failure.cause, "protocol");
  assert.match(failure.reason, /^The handshake with the server failed: ERR_SSL_/);
});
