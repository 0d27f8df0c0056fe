import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { createSecureContext, TLSSocket, connect as tlsConnect } from "node:tls";
import { until } from "../../test/processes.ts";
import { readAll, tcpPair } from "../legs/test-pairs.ts";
import { make } from "../pki/x509/test-chain.ts";
import { type Meter, type RelayEnd, type RelayEnding, relay, type Tap } from "./relay.ts";

const IDLE = 60_000;
const MIB = 2 ** 20;
const identity = await make({ subject: "CN=relay.test", names: [["dns", "relay.test"]] });
const secureContext = createSecureContext({ cert: identity.pem, key: identity.keyPem });

interface Options {
  readonly idle?: number;
  readonly taps?: readonly Tap[];
  readonly clientHead?: Buffer;
  readonly serverHead?: Buffer;
}

/** Two real peers with the relay between them. */
interface Relayed {
  readonly client: Socket;
  readonly server: Socket;
  /** The node's own ends. */
  readonly ends: { readonly client: Socket; readonly server: Socket };
  readonly meter: Meter;
  readonly parting: Promise<RelayEnding>;
}

async function connected(t: TestContext): Promise<Pick<Relayed, "client" | "server" | "ends">> {
  const [client, nearClient] = await tcpPair(t);
  const [nearServer, server] = await tcpPair(t);
  return { client, server, ends: { client: nearClient, server: nearServer } };
}

function begin(ends: Relayed["ends"], options: Options = {}): Pick<Relayed, "meter" | "parting"> {
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const end = (socket: Socket, head: Buffer | undefined): RelayEnd => ({ stream: socket, socket, head });
  const { taps = [], idle = IDLE } = options;
  const parting = relay(end(ends.client, options.clientHead), end(ends.server, options.serverHead), {
    meter,
    taps,
    idle,
  });
  return { meter, parting };
}

async function relayed(t: TestContext, options: Options = {}): Promise<Relayed> {
  const peers = await connected(t);
  return { ...peers, ...begin(peers.ends, options) };
}

/** Resolves with the code of the error that ends a socket. */
async function brokenBy(socket: Socket): Promise<string | undefined> {
  const [error] = (await once(socket, "error").catch((reason: Error) => [reason])) as [NodeJS.ErrnoException];
  return error.code;
}

/** A tap that writes down what it sees, and says when it can take more. */
function recorder(pressure: Tap["pressure"] = () => undefined): Tap & { readonly seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    data: (from, bytes) => void seen.push(`${from}: ${Buffer.from(bytes).toString("latin1")}`),
    end: (from) => void seen.push(`${from} ended`),
    reset: (from) => void seen.push(`${from} reset`),
    pressure,
  };
}

/** Writes until the kernel's and the node's buffers on the way are full, and one more. */
async function fill(socket: Socket, reader: Socket): Promise<void> {
  while (socket.writableLength < MIB) {
    const taken = new Promise((resolve) => socket.write(Buffer.alloc(MIB), resolve));
    await Promise.race([taken, until("a reader that pauses", () => reader.isPaused())]);
  }
}

/** After a FIN has been read the kernel tells of a reset only when there is something to send. */
function writeUntilBroken(socket: Socket): Promise<unknown> {
  return until("a broken connection", () => {
    if (!socket.destroyed) socket.write("are you there?");
    return socket.destroyed;
  });
}

for (const [first, second] of [
  ["client", "server"],
  ["server", "client"],
] as const) {
  test(`The relay carries the ${first}'s half-close, and the other direction goes on`, async (t) => {
    const { [first]: leaving, [second]: staying, parting, meter } = await relayed(t);
    leaving.end("last words");
    assert.equal(String(await readAll(staying)), "last words");
    staying.end("an answer");
    assert.equal(String(await readAll(leaving)), "an answer");
    assert.deepEqual(await parting, {
      reason: `The ${first} closed the connection`,
      clientLeft: "closed",
      serverLeft: "closed",
      first,
      failure: undefined,
    });
    const expected = first === "client" ? [10, 9] : [9, 10];
    assert.deepEqual([meter.fromClient, meter.fromServer], expected);
  });

  test(`The relay carries the ${first}'s reset, and says whose it was`, async (t) => {
    const { [first]: leaving, [second]: staying, parting } = await relayed(t);
    const reset = brokenBy(staying.resume());
    leaving.resetAndDestroy();
    assert.equal(await reset, "ECONNRESET");
    const { reason, failure, ...left } = await parting;
    assert.equal(reason, `The ${first} reset the connection`);
    assert.equal(failure?.side, first);
    assert.equal(left[`${first}Left`], "reset");
    assert.equal(left[`${second}Left`], null);
  });

  test(`The relay carries a reset of the ${first}'s after its half-close`, async (t) => {
    const { [first]: leaving, [second]: staying, parting } = await relayed(t);
    leaving.end("half");
    assert.equal(String(await readAll(staying)), "half");
    leaving.resetAndDestroy();
    await writeUntilBroken(staying);
    assert.equal((await parting)[`${first}Left`], "reset");
  });

  test(`A reset of the ${first}'s while the ${second} does not read is carried as soon as it reads`, async (t) => {
    const { [first]: leaving, [second]: staying, ends, parting } = await relayed(t);
    await fill(leaving, ends[first]);
    leaving.resetAndDestroy();
    const reset = brokenBy(staying.resume());
    assert.equal(await reset, "ECONNRESET");
    assert.equal((await parting)[`${first}Left`], "reset");
  });

  test(`A reset of the ${second}'s while it does not read reaches the ${first} that sends`, async (t) => {
    const { [first]: sending, [second]: leaving, ends, parting } = await relayed(t);
    await fill(sending, ends[first]);
    const reset = brokenBy(sending.resume());
    leaving.resetAndDestroy();
    assert.ok(["ECONNRESET", "EPIPE"].includes((await reset) ?? ""));
    assert.equal((await parting)[`${second}Left`], "reset");
  });

  test(`The node's own end of the ${first}'s connection, destroyed after a half-close, resets the ${second}`, async (t) => {
    const { [first]: leaving, [second]: staying, ends, parting } = await relayed(t);
    leaving.end("half");
    assert.equal(String(await readAll(staying)), "half");
    ends[first].resetAndDestroy();
    await writeUntilBroken(staying);
    await parting;
  });

  test(`A ${first} that was gone before the relay began ends the ${second} too`, async (t) => {
    const { [first]: leaving, [second]: staying, ends } = await connected(t);
    const reset = brokenBy(staying.resume());
    leaving.resetAndDestroy();
    ends[first].resume();
    await new Promise((resolve) => ends[first].once("close", resolve));
    const { parting } = begin(ends);
    assert.equal(await reset, "ECONNRESET");
    const { reason, failure } = await parting;
    assert.equal(reason, `The ${first} reset the connection`);
    assert.equal(failure?.side, first);
  });

  test(`A ${first} that had ended before the relay began may still be answered`, async (t) => {
    const { [first]: leaving, [second]: staying, ends } = await connected(t);
    leaving.end();
    ends[first].resume();
    await once(ends[first], "end");
    ends[first].pause();
    const { parting } = begin(ends);
    assert.equal(String(await readAll(staying)), "");
    staying.end("an answer");
    assert.equal(String(await readAll(leaving)), "an answer");
    assert.equal((await parting).reason, `The ${first} closed the connection`);
  });
}

test("Both ends gone before the relay began is an end at once", async (t) => {
  const { ends } = await connected(t);
  for (const socket of Object.values(ends)) socket.destroy();
  const { clientLeft } = await begin(ends).parting;
  assert.equal(clientLeft, "reset");
});

test("A server that closes while the client still sends: the client is reset, not left waiting", async (t) => {
  const { client, server, parting } = await relayed(t);
  const gone = brokenBy(client.resume());
  client.on("drain", () => client.write(Buffer.alloc(MIB)));
  client.write(Buffer.alloc(MIB));
  server.resume();
  await once(server, "data");
  server.pause();
  // With bytes unread: the kernel makes a reset of it.
  server.destroy();
  assert.ok(["ECONNRESET", "EPIPE"].includes((await gone) ?? ""));
  assert.equal((await parting).serverLeft, "reset");
});

test("What was read before the relay began goes first, each side's to the other", async (t) => {
  const tap = recorder();
  const heads = { clientHead: Buffer.from("hello "), serverHead: Buffer.from("220 ") };
  const { client, server, parting, meter } = await relayed(t, { ...heads, taps: [tap] });
  client.end("there");
  server.end("ready");
  assert.equal(String(await readAll(server)), "hello there");
  assert.equal(String(await readAll(client)), "220 ready");
  await parting;
  assert.deepEqual(meter, { fromClient: 11, fromServer: 9, toClient: 9, toServer: 11 });
  assert.deepEqual(tap.seen.slice(0, 2), ["client: hello ", "server: 220 "]);
});

test("Silence in both directions ends both connections with a reset", async (t) => {
  const { client, server, parting } = await relayed(t, { idle: 20 });
  const resets = [brokenBy(client.resume()), brokenBy(server.resume())];
  assert.deepEqual(await Promise.all(resets), ["ECONNRESET", "ECONNRESET"]);
  assert.equal((await parting).reason, "Nothing passed for 0.02 s");
});

test("A server that has ended and never reads what the client left does not hold the session forever", async (t) => {
  const { client, server, ends, meter, parting } = await relayed(t, { idle: 2_000 });
  // A little more than the kernel takes, and less than what stops the reader: so the client's end is read.
  while (ends.server.writableLength === 0) {
    client.write(Buffer.alloc(8192));
    await until("what was written, relayed", () => meter.fromClient === client.bytesWritten);
  }
  assert.ok(!ends.client.isPaused());
  server.end();
  assert.equal(String(await readAll(client)), "");
  client.end();
  await new Promise((resolve) => ends.client.once("close", resolve));
  await parting;
  assert.ok(ends.server.destroyed);
});

test("Taps see bytes, ends and resets in the order they passed", async (t) => {
  const tap = recorder();
  const { client, server, parting } = await relayed(t, { taps: [tap] });
  client.write("question");
  server.resume();
  await once(server, "data");
  server.end("answer");
  assert.equal(String(await readAll(client)), "answer");
  client.resetAndDestroy();
  await parting;
  assert.deepEqual(tap.seen, ["client: question", "server: answer", "server ended", "client reset"]);
});

test("A tap that is full holds the reader, whatever else drains, and lets it go on when it can take more", async (t) => {
  const relief = Promise.withResolvers<void>();
  let full = false;
  const tap = recorder(() => (full ? relief.promise : undefined));
  const { client, server, ends, meter, parting } = await relayed(t, { taps: [tap] });
  full = true;
  client.write("first");
  server.resume();
  await once(server, "data");
  assert.ok(ends.client.isPaused());
  client.write("second");
  // The writer's drain alone must not wake the reader: the tap still holds it.
  ends.server.emit("drain");
  assert.ok(ends.client.isPaused());
  assert.equal(meter.fromClient, 5);
  full = false;
  relief.resolve();
  const [second] = await once(server, "data");
  assert.equal(String(second), "second");
  client.end();
  server.end();
  await parting;
});

test("The relay pushes back: a sender is stopped when the other side does not read", async (t) => {
  const { client, server, ends, meter, parting } = await relayed(t);
  await fill(client, ends.client);
  assert.ok(ends.server.writableLength <= 2 * MIB, `${ends.server.writableLength} bytes wait in the node`);
  client.end();
  assert.equal((await readAll(server)).length, client.bytesWritten);
  server.end();
  await parting;
  assert.equal(meter.fromClient, client.bytesWritten);
});

/** A relay whose client end is a TLS stream. */
async function overTls(t: TestContext): Promise<Relayed & { readonly tls: TLSSocket }> {
  const { client, server, ends } = await connected(t);
  const tls = new TLSSocket(client, { isServer: true, secureContext, ...{ allowHalfOpen: true } });
  tls.on("error", () => {});
  const stream = tlsConnect({ socket: ends.client, rejectUnauthorized: false, ...{ allowHalfOpen: true } });
  stream.on("error", () => {});
  await Promise.all([once(stream, "secureConnect"), once(tls, "secure")]);
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const near = { client: { stream, socket: ends.client }, server: { stream: ends.server, socket: ends.server } };
  const parting = relay(near.client, near.server, { meter, taps: [], idle: IDLE });
  return { client, server, ends, meter, parting, tls };
}

test("A TLS error on one side resets the other: a broken stream must not look complete", async (t) => {
  const { client, server, tls, parting } = await overTls(t);
  tls.write("good");
  server.resume();
  await once(server, "data");
  const reset = brokenBy(server);
  // An application data record that nobody has encrypted, under the feet of the client's TLS.
  client.write(Buffer.from([23, 3, 3, 0, 32, ...Buffer.alloc(32, 7)]));
  assert.equal(await reset, "ECONNRESET");
  const { reason, failure, serverLeft } = await parting;
  assert.match(reason, /^The client's connection broke: ERR_SSL_/);
  assert.deepEqual([failure?.side, serverLeft], ["client", null]);
});

test("A server's reset crosses a TLS leg as a reset", async (t) => {
  const { client, server, tls, parting } = await overTls(t);
  tls.resume();
  const reset = Promise.race([brokenBy(client), brokenBy(tls)]);
  server.resetAndDestroy();
  assert.equal(await reset, "ECONNRESET");
  assert.equal((await parting).serverLeft, "reset");
});

test("A break right behind an end closes the descriptors too", async (t) => {
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  for (let round = 0; round < 5; round += 1) {
    const { client, server, ends, tls, parting } = await overTls(t);
    ends.server.once("end", () => ends.server.destroy(Object.assign(new Error(), { code: "ECONNRESET" })));
    server.end();
    await parting;
    for (const peer of [tls, client, server]) peer.destroy();
  }
  await until("descriptors as before", () => open() <= before);
});
