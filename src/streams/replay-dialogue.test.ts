import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { Agreement } from "../detect/starttls/dialogue.ts";
import { endAndSocket, readBytes } from "../engine/test-ends.ts";
import { NetworkError } from "../errors.ts";
import { replayDialogue } from "./replay-dialogue.ts";

const AGREEMENT: Agreement = {
  protocol: "SMTP",
  next: "tls",
  script: [
    { after: 1, bytes: Buffer.from("EHLO client.example\r\n") },
    { after: 2, bytes: Buffer.from("STARTTLS\r\n") },
  ],
};
const OFFER = "250-mail.example\r\n250 STARTTLS\r\n";

/** A server that greets, and answers each line that it gets with the next of `answers`. */
function serve(server: Socket, answers: readonly string[]): string[] {
  const lines: string[] = [];
  server.write("220 mail.example\r\n");
  server.on("data", (bytes) => {
    lines.push(String(bytes));
    server.write(answers[lines.length - 1] ?? "500\r\n");
  });
  server.resume();
  return lines;
}

test("Each part is sent once the server has answered the part before, until it agrees", async (t) => {
  const [end, server] = await endAndSocket(t);
  const lines = serve(server, [OFFER, "220 go\r\n"]);
  await replayDialogue(end, AGREEMENT, 60_000);
  assert.deepEqual(lines, ["EHLO client.example\r\n", "STARTTLS\r\n"]);
  assert.equal(end.isOpen, true);
});

test("Nothing is sent before the server's greeting", async (t) => {
  const [end, server] = await endAndSocket(t);
  const replay = replayDialogue(end, AGREEMENT, 60_000);
  server.end();
  await assert.rejects(replay, NetworkError);
  assert.equal(end.written, 0);
});

test("Bytes that come through a tunnel right after the agreement stay with the connection", async (t) => {
  const [end, server] = await endAndSocket(t);
  server.once("data", () => server.write("HTTP/1.1 200 OK\r\n\r\n220 inner.test\r\n")).resume();
  const script = [{ after: 0, bytes: Buffer.from("CONNECT inner.test:25 HTTP/1.1\r\n\r\n") }];
  await replayDialogue(end, { protocol: "CONNECT", next: "anything", script }, 60_000);
  assert.equal(String((await readBytes(end, 16)).bytes), "220 inner.test\r\n");
});

for (const [what, answers, message] of [
  ["refuses this time", [OFFER, "454 not now\r\n"], /did not agree to TLS in SMTP a second time/],
  ["breaks the protocol", [OFFER, "220 go\r\nmore"], /broke SMTP when the dialogue was repeated/],
] as const) {
  test(`A server that ${what} has its connection closed`, async (t) => {
    const [end, server] = await endAndSocket(t);
    serve(server, answers);
    await assert.rejects(replayDialogue(end, AGREEMENT, 60_000), { name: "NetworkError", message });
    assert.equal(end.isOpen, false);
  });
}

test("A server that says nothing is given up after the time limit", async (t) => {
  const [end] = await endAndSocket(t);
  await assert.rejects(replayDialogue(end, AGREEMENT, 1), { name: "NetworkError", code: "ETIMEDOUT" });
  assert.equal(end.isOpen, false);
});

test("A dialogue that would do harm if it were repeated is not sent", async (t) => {
  const [end, server] = await endAndSocket(t);
  await assert.rejects(replayDialogue(end, { ...AGREEMENT, script: undefined }, 60_000), /cannot be repeated/);
  await once(server.resume(), "end");
  assert.equal(server.bytesRead, 0);
});
