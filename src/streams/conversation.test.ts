import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { openWatch, type Watch } from "../detect/starttls/dialogues.ts";
import { checkEngine } from "../engine/check.ts";
import { Context } from "../engine/contexts.ts";
import type { End } from "../engine/end.ts";
import { OpensslLayer } from "../engine/openssl-layer.ts";
import { type RelayEnding, relay } from "../engine/relay.ts";
import { endAndSocket, endPair, readBytes, readToEnd, shake, writeAll, writer } from "../engine/test-ends.ts";
import { make } from "../pki/x509/test-chain.ts";
import { type TimedAgreement, type TimedTls, UpgradableConversation } from "./conversation.ts";
import { readUntil } from "./reading.ts";

checkEngine();

const { pem, keyPem } = await make({ subject: "CN=conversation.test" });
const COMMON = {
  ...{ minVersion: 0x0304, maxVersion: 0x0304, ciphers: "TLS_AES_128_GCM_SHA256" },
  ...{ tickets: false, sessions: false, keyLog: false },
};
const CLIENT = new Context({ role: "client", ...COMMON, alpn: [] });
const SERVER = new Context({
  ...{ role: "server", ...COMMON, sessionTimeout: 300, identities: [{ certificatePem: pem, keyPem }] },
});

const IMAP = { greeting: "* OK ready\r\n", ask: "a STARTTLS\r\n", agree: "a OK begin\r\n" };
const CONNECT = "CONNECT inner.test:443 HTTP/1.1\r\nHost: inner.test\r\n\r\n";

const PATIENT = { patience: 60_000, strict: false };

/** What the peers agreed to. */
function agreed(next: TimedAgreement | TimedTls | undefined): TimedAgreement {
  assert.ok(next && "protocol" in next);
  return next;
}

interface Peers {
  readonly client: Socket;
  readonly server: Socket;
  readonly ends: { readonly client: End; readonly server: End };
  readonly conversation: UpgradableConversation;
  readonly over: Promise<RelayEnding>;
}

async function conversing(t: TestContext, startTls = true): Promise<Peers> {
  const [near, client] = await endAndSocket(t);
  const [far, server] = await endAndSocket(t);
  const conversation = new UpgradableConversation({ client: near, server: far }, openWatch({ startTls }), PATIENT);
  return { client, server, ends: { client: near, server: far }, conversation, over: begin(near, far) };
}

function begin(near: End, far: End): Promise<RelayEnding> {
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  return relay(near, far, { meter, taps: [], idle: 60_000 });
}

/** Reads so many bytes of a socket of the test's. */
async function hear(socket: Socket, length: number): Promise<string> {
  let heard = "";
  while (heard.length < length) {
    const piece: Buffer | null = socket.read(Math.min(length - heard.length, socket.readableLength || 1));
    if (piece === null) await once(socket, "readable");
    else heard += String(piece);
  }
  return heard;
}

async function agree({ client, server }: Pick<Peers, "client" | "server">, behind = ""): Promise<void> {
  server.write(IMAP.greeting);
  await hear(client, IMAP.greeting.length);
  client.write(IMAP.ask);
  await hear(server, IMAP.ask.length);
  server.write(IMAP.agree + behind);
}

test("What is said passes until the peers have agreed to TLS, and what comes behind stays with its end", async (t) => {
  const peers = await conversing(t);
  await agree(peers);
  const agreement = agreed(await peers.conversation.next());
  assert.equal(agreement.protocol, "IMAP");
  assert.ok(agreement.at <= Date.now());
  assert.equal(await hear(peers.client, IMAP.agree.length), IMAP.agree);
  peers.client.write("hello");
  const looked = await readUntil({ client: peers.ends.client }, (_side, bytes) => String(bytes), {
    silence: 10_000,
    gap: 10_000,
  });
  assert.equal(looked.answer, "hello");
  assert.equal(peers.server.readableLength, 0);
});

test("A conversation that will never become TLS goes on as it is", async (t) => {
  const { client, server, conversation, over } = await conversing(t, false);
  client.write("SSH-2.0-client\r\n");
  assert.equal(await conversation.plain(), "plain");
  assert.equal(await hear(server, 16), "SSH-2.0-client\r\n");
  client.end();
  server.end("answer");
  assert.equal(await hear(client, 6), "answer");
  assert.equal((await over).failure, undefined);
});

test("After as many bytes as are looked at, nobody looks any more, and the guard before is shown what passes", async (t) => {
  const [near, client] = await endAndSocket(t);
  const [far, server] = await endAndSocket(t);
  let guarded = "";
  near.gate = (bytes) => {
    guarded += bytes;
    if (guarded.length >= 4) near.gate = undefined;
    return bytes.length;
  };
  const options = { patience: undefined, strict: false, limit: 10 };
  const watch = openWatch({ startTls: false, connect: false });
  const conversation = new UpgradableConversation({ client: near, server: far }, watch, options);
  const next = conversation.next();
  void begin(near, far);
  for (const piece of ["01\x16", "34", "56789"]) {
    client.write(piece);
    await hear(server, piece.length);
  }
  assert.equal(guarded, "01\x1634");
  assert.equal(near.gate, undefined);
  assert.equal(far.gate, undefined);
  client.end("more");
  assert.equal(await hear(server, 4), "more");
  void next;
});

test("A peer that breaks the dialogue rejects the agreement, and nothing of it passes", async (t) => {
  const { client, server, conversation } = await conversing(t);
  server.write(IMAP.greeting);
  await hear(client, IMAP.greeting.length);
  client.write(`${IMAP.ask}injected`);
  await assert.rejects(conversation.next(), { name: "PeerError" });
  assert.equal(server.readableLength, 0);
});

test("An agreement that the client's last bytes make is told once they are written to the server", async (t) => {
  const [near, client] = await endAndSocket(t);
  const [far, server] = await endAndSocket(t);
  // Written before the conversation: not part of what is counted.
  far.writeBytes(Buffer.from("earlier "));
  const agreement = { protocol: "TEST", next: "tls", script: [] } as const;
  const watch: Watch = {
    ...{ spoken: undefined, likely: true, awaiting: false, inBody: false, beyond: false },
    feed: (side) => (side === "client" ? { kind: "upgrade", at: 4, agreement } : { kind: "more" }),
  };
  const conversation = new UpgradableConversation({ client: near, server: far }, watch, PATIENT);
  let isTold = false;
  void conversation.next().then(() => {
    isTold = true;
  });
  void begin(near, far);
  assert.equal(isTold, false);
  client.write("last and more");
  assert.equal(agreed(await conversation.next()).protocol, "TEST");
  assert.equal(await hear(server, 12), "earlier last");
  assert.equal(server.readableLength, 0);
  assert.equal(String((await readBytes(near, 9)).bytes), " and more");
});

/** TLS begins on both of the node's ends, with the peers' own TLS. */
async function secure(near: End, far: End, client: End, server: End): Promise<void> {
  const outcomes = await Promise.all([
    shake(client, new OpensslLayer({ end: client, writer, context: CLIENT })),
    shake(near, new OpensslLayer({ end: near, writer, context: SERVER })),
    shake(far, new OpensslLayer({ end: far, writer, context: CLIENT })),
    shake(server, new OpensslLayer({ end: server, writer, context: SERVER })),
  ]);
  for (const { agreed } of outcomes) assert.ok("version" in agreed, JSON.stringify(agreed));
}

/** As `conversing`, with peers that are ends of the engine too. */
async function conversingEnds(t: TestContext) {
  const [client, near] = await endPair(t);
  const [far, server] = await endPair(t);
  const conversation = new UpgradableConversation(
    { client: near, server: far },
    openWatch({ startTls: true }),
    PATIENT,
  );
  const over = begin(near, far);
  await writeAll(server, Buffer.from(IMAP.greeting));
  await readBytes(client, IMAP.greeting.length);
  await writeAll(client, Buffer.from(IMAP.ask));
  await readBytes(server, IMAP.ask.length);
  await writeAll(server, Buffer.from(IMAP.agree));
  await readBytes(client, IMAP.agree.length);
  assert.equal(agreed(await conversation.next()).protocol, "IMAP");
  return { client, near, far, server, conversation, over };
}

test("TLS begins in place on the same ends, and the same relay carries its plaintext to the end", async (t) => {
  const { client, near, far, server, conversation, over } = await conversingEnds(t);
  conversation.hold();
  await secure(near, far, client, server);
  conversation.resume(undefined);
  assert.equal(await conversation.next(), undefined);
  const bytes = Buffer.alloc(1_000_000, "secret");
  const [there] = await Promise.all([readBytes(server, bytes.length), writeAll(client, bytes)]);
  assert.ok(there.bytes.equals(bytes));
  await writeAll(server, Buffer.from("answer"));
  assert.equal(String((await readBytes(client, 6)).bytes), "answer");
  for (const end of [client, server]) {
    assert.ok(end.finish());
    end.fin();
  }
  const ending = await over;
  assert.deepEqual([ending.clientLeft, ending.serverLeft, ending.failure], ["closed", "closed", undefined]);
});

test("The plaintext of the TLS may be watched again, and become TLS inside of TLS", async (t) => {
  const { client, near, far, server, conversation } = await conversingEnds(t);
  conversation.hold();
  await secure(near, far, client, server);
  conversation.resume(openWatch({ startTls: false }));
  await writeAll(client, Buffer.from(CONNECT));
  await readBytes(server, CONNECT.length);
  const answer = "HTTP/1.1 200 Connected\r\n\r\n";
  await writeAll(server, Buffer.from(answer));
  assert.equal(String((await readBytes(client, answer.length)).bytes), answer);
  assert.equal(agreed(await conversation.next()).target?.host, "inner.test");
  conversation.hold();
  await secure(near, far, client, server);
  conversation.resume(undefined);
  const bytes = Buffer.alloc(300_000, "inner");
  const [there] = await Promise.all([readBytes(server, bytes.length), writeAll(client, bytes)]);
  assert.ok(there.bytes.equals(bytes));
});

test("Peers that are left go on on other ends with what waits for them, and the relay and its tools end", async (t) => {
  const { client, server, ends, conversation, over } = await conversing(t);
  await agree({ client, server });
  await conversation.next();
  await hear(client, IMAP.agree.length);
  client.write("hello");
  const timing = { silence: 10_000, gap: 10_000 };
  await readUntil({ client: ends.client }, (_side, bytes) => (bytes.length === 5 ? true : undefined), timing);
  const left = conversation.leave();
  t.after(() => left.client.close());
  t.after(() => left.server.close());
  const { failure } = await over;
  assert.equal(failure, undefined);
  assert.equal(String((await readBytes(left.client, 5)).bytes), "hello");
  await writeAll(left.client, Buffer.from("to the client"));
  assert.equal(await hear(client, 13), "to the client");
  assert.equal(ends.client.isOpen, false);
  server.end("bye");
  assert.equal(String((await readToEnd(left.server)).bytes), "bye");
});

test("A conversation inside of TLS can be left too", async (t) => {
  const { client, near, far, server, conversation } = await conversingEnds(t);
  conversation.hold();
  await secure(near, far, client, server);
  conversation.resume(openWatch({ startTls: false }));
  await writeAll(client, Buffer.from("CONNECT inner"));
  await readBytes(server, 13);
  const left = conversation.leave();
  await writeAll(client, Buffer.from("more"));
  assert.equal(String((await readBytes(left.client, 4)).bytes), "more");
  await writeAll(left.server, Buffer.from("still TLS"));
  assert.equal(String((await readBytes(server, 9)).bytes), "still TLS");
  left.client.close();
  left.server.close();
});
