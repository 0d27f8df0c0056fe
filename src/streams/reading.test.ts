import assert from "node:assert/strict";
import { test } from "node:test";
import { SCRATCH } from "../engine/loop.ts";
import { endAndSocket, endPair, readToEnd } from "../engine/test-ends.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { readUntil } from "./reading.ts";

const PATIENT = { silence: 60_000, gap: 60_000 };

/** Answers once this many bytes came from the client. */
function atLeast(length: number): (side: string, bytes: Buffer) => string | undefined {
  let seen = "";
  return (side, bytes) => {
    if (side === "client") seen += String(bytes);
    return seen.length >= length ? seen : undefined;
  };
}

test("Bytes in pieces are read until there is an answer, and given back as the flow's beginning", async (t) => {
  const [client, peer] = await endAndSocket(t);
  const reading = readUntil({ client }, atLeast(6), PATIENT);
  for (const piece of ["a", "b", "cd", "ef"]) {
    peer.write(piece);
    await new Promise(setImmediate);
  }
  const { answer, client: bytes } = await reading;
  assert.equal(answer, String(bytes));
  assert.ok(String(bytes).startsWith("abcdef"));
});

test("What comes behind the answer stays with the socket, in order, and so does the end", async (t) => {
  const [client, peer] = await endAndSocket(t);
  const reading = readUntil({ client }, atLeast(5), PATIENT);
  peer.write("hello");
  const { client: bytes } = await reading;
  assert.equal(String(bytes), "hello");
  peer.end(" and more");
  assert.equal(String((await readToEnd(client)).bytes), "hello and more");
});

test("The server's bytes are judged too, and kept apart", async (t) => {
  const [client, peer] = await endAndSocket(t);
  const [server, serverPeer] = await endAndSocket(t);
  const reading = readUntil(
    { client, server },
    (side) => {
      if (side === "client") serverPeer.write("220");
      return side === "server" ? "greeting" : undefined;
    },
    PATIENT,
  );
  peer.write("EHLO");
  const { answer, client: fromClient, server: fromServer } = await reading;
  assert.deepEqual([answer, String(fromClient), String(fromServer)], ["greeting", "EHLO", "220"]);
});

test("A side that ends before there is an answer leaves none, and what it had said", async (t) => {
  const [client, peer] = await endAndSocket(t);
  const reading = readUntil({ client }, () => undefined, PATIENT);
  peer.end("half");
  const { answer, client: bytes } = await reading;
  assert.deepEqual([answer, String(bytes)], [undefined, "half"]);
});

test("Silence before the first byte is told from silence in the middle", async (t) => {
  const [silent] = await endAndSocket(t);
  await assert.rejects(
    readUntil({ client: silent }, () => undefined, { silence: 5, gap: 60_000 }),
    { code: "ETIMEDOUT", message: "The client sent nothing in time" },
  );
  const [client, peer] = await endAndSocket(t);
  const reading = readUntil({ client }, () => undefined, { silence: 60_000, gap: 5 });
  peer.write("GET");
  await assert.rejects(reading, {
    code: "ETIMEDOUT",
    message: "The client began and then sent nothing more in time",
  });
});

test("A byte before each gap ends holds the place for two gaps from the first byte, no longer", async (t) => {
  const [client, peer] = await endAndSocket(t);
  let bytes = 0;
  const count = () => {
    bytes += 1;
    return bytes > 200 ? "held" : undefined;
  };
  const reading = readUntil({ client }, count, { silence: 60_000, gap: 300 });
  const drip = setInterval(() => peer.write("."), 5);
  t.after(() => clearInterval(drip));
  await assert.rejects(reading, {
    code: "ETIMEDOUT",
    message: "The client began and did not come to an end in time",
  });
});

test("A reset is a NetworkError that names the side", async (t) => {
  const [client] = await endAndSocket(t);
  const [server, serverPeer] = await endAndSocket(t);
  const reading = readUntil({ client, server }, () => undefined, PATIENT);
  serverPeer.resetAndDestroy();
  await assert.rejects(reading, { name: "NetworkError", message: "The server reset its connection" });
  assert.equal(client.task, undefined);
});

test("A connection that is gone already is told of, and nobody waits for the other", async (t) => {
  const [client] = await endAndSocket(t);
  const [server] = await endAndSocket(t);
  server.close();
  await assert.rejects(
    readUntil({ client, server }, () => undefined, PATIENT),
    NetworkError,
  );
  assert.equal(client.task, undefined);
});

test("What the judge throws is thrown, and the node's own error when it ended the connection itself", async (t) => {
  const [client, peer] = await endAndSocket(t);
  const judge = () => {
    throw new PeerError("Cannot read this", 50);
  };
  const reading = readUntil({ client }, judge, PATIENT);
  peer.write("x");
  await assert.rejects(reading, { name: "PeerError", alert: 50 });

  const [other] = await endAndSocket(t);
  const evicted = readUntil({ client: other }, () => undefined, PATIENT);
  other.close(new NetworkError("The node was full", "EMFILE"));
  await assert.rejects(evicted, { code: "EMFILE", message: "The node was full" });
});

test("The node's own error is told also when it ended the connection before anybody read", async (t) => {
  const [client] = await endAndSocket(t);
  client.close(new NetworkError("The node was full", "EMFILE"));
  const reading = readUntil({ client }, () => undefined, PATIENT);
  await assert.rejects(reading, { code: "EMFILE", message: "The node was full", side: undefined });
});

test("A judge that never has enough is not fed without bounds", async (t) => {
  const [client, peer] = await endAndSocket(t);
  const reading = readUntil({ client }, () => undefined, PATIENT);
  peer.write(Buffer.alloc(2 ** 20));
  await assert.rejects(reading, { name: "InvariantError" });
});

test("An opening longer than what the kernel holds for nobody is read and put back, and all of it is there", async (t) => {
  const [near, far] = await endPair(t);
  const bytes = Buffer.alloc(SCRATCH, "clearline");
  far.writeBytes(bytes);
  far.writeBytes(Buffer.from("behind"));
  const reading = await readUntil({ client: near }, atLeast(bytes.length - 10), PATIENT);
  assert.ok(reading.client.length >= bytes.length - 10);
  assert.ok(near.hasUnread);
  far.fin();
  assert.ok((await readToEnd(near)).bytes.equals(Buffer.concat([bytes, Buffer.from("behind")])));
});

test("An end that was read and put back before is read again from its beginning", async (t) => {
  const [client, peer] = await endAndSocket(t);
  client.unread(Buffer.from("ab"));
  const reading = readUntil({ client }, atLeast(4), PATIENT);
  peer.end("cd");
  assert.equal((await reading).answer, "abcd");
  assert.equal(String((await readToEnd(client)).bytes), "abcd");
});
