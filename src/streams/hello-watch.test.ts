import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { readAll } from "../../test/clients.ts";
import { helloMessage, inRecords, serverHello, serverNames } from "../../test/recorded/client-hello/build.ts";
import type { End } from "../engine/end.ts";
import { relay, type Tap } from "../engine/relay.ts";
import { endAndSocket } from "../engine/test-ends.ts";
import { PeerError } from "../errors.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import type { ExchangeRules } from "../wire/hello-exchange.ts";
import { record } from "../wire/record.ts";
import { u8, vector24 } from "../wire/writer.ts";
import { watchHellos } from "./hello-watch.ts";

const named = (name: string) => inRecords(helloMessage({ extensions: [[0, serverNames([0, name])]] }));
const FIRST = named("bank.example");
const RETRY = serverHello(0x0304, true);
const MIB = 1024 * 1024;

const entry = (text: string) => vector24(Buffer.from(text));
const CERTIFICATE = record(
  22,
  0x0303,
  Buffer.concat([u8(11), vector24(vector24(Buffer.concat([entry("leaf"), entry("issuer")])))]),
);

/** A relay between two sockets of Node's whose hellos are watched. */
async function watched(
  t: TestContext,
  taps: readonly Tap[] = [],
  rules: Partial<ExchangeRules> = {},
  judge: Parameters<typeof watchHellos>[3] = async () => undefined,
) {
  const [near, client] = await endAndSocket(t);
  const [far, server] = await endAndSocket(t);
  const sighting = createClientHelloReader().push(FIRST);
  assert.ok(sighting.kind === "hello");
  const fault = watchHellos(near, far, { hello: sighting.hello, ...rules }, judge);
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(near, far, { meter, taps, idle: 60_000 });
  return { client, server, ends: [near, far] as const, fault, over, meter };
}

/** Counts the bytes that JavaScript takes from an end. */
function countReads(end: End): () => number {
  let count = 0;
  const [read, consume] = [end.read.bind(end), end.consume.bind(end)];
  end.read = (at, room) => {
    const length = read(at, room);
    count += Math.max(0, length);
    return length;
  };
  end.consume = (length) => {
    count += length;
    consume(length);
  };
  return () => count;
}

const TAP: Tap = { data: () => {}, end: () => {}, reset: () => {}, pressure: () => undefined };

for (const taps of [[], [TAP]]) {
  test(`After the hellos all bytes pass${taps.length === 0 ? ", moved by the kernel" : ", past a tap"}`, async (t) => {
    const { client, server, ends, fault, over, meter } = await watched(t, taps);
    const counts = ends.map(countReads);
    const [up, down] = [randomBytes(MIB), randomBytes(MIB)];
    client.write(FIRST);
    await hear(server, FIRST.length);
    server.write(RETRY);
    await hear(client, RETRY.length);
    client.write(FIRST);
    await hear(server, FIRST.length);
    server.write(serverHello(0x0304));
    await hear(client, serverHello(0x0304).length);
    assert.equal(await fault, undefined);
    client.end(up);
    server.end(down);
    const [atServer, atClient] = await Promise.all([readAll(server), readAll(client)]);
    assert.ok(atServer.equals(up) && atClient.equals(down));
    assert.equal((await over).failure, undefined);
    assert.equal(meter.fromClient, 2 * FIRST.length + MIB);
    const read = counts.map((count) => count());
    assert.equal(
      read.every((count) => count < MIB / 2),
      taps.length === 0,
      `JavaScript has read ${read.join(" and ")} bytes`,
    );
  });
}

test("A second hello with another name never arrives whole, and nothing passes after it", async (t) => {
  const { client, server, ends, fault } = await watched(t);
  client.write(FIRST);
  await hear(server, FIRST.length);
  server.write(RETRY);
  await hear(client, RETRY.length);
  const second = named("no.example");
  client.write(second.subarray(0, 20));
  await hear(server, 19);
  client.write(second.subarray(20));
  assert.match((await fault)!.message, /names another host, no\.example/);
  client.write("more");
  for (const end of ends) end.close();
  await left(server);
  assert.equal(server.bytesRead, FIRST.length + 19);
});

test("A hello that breaks off does not keep the end of its stream", async (t) => {
  const { client, server, over } = await watched(t);
  client.end(FIRST.subarray(0, 30));
  server.end();
  assert.equal((await readAll(server)).length, 30);
  assert.equal((await over).clientLeft, "closed");
});

test("A ServerHello with a version that may not pass never arrives whole", async (t) => {
  const { client, server, ends, fault } = await watched(t, [], { isForbidden: (version) => version > 0x0302 });
  client.write(FIRST);
  await hear(server, FIRST.length);
  server.write(serverHello(0x0304));
  assert.match((await fault)!.message, /chose TLSv1\.3/);
  for (const end of ends) end.close();
  await left(client);
  assert.equal(client.bytesRead, 0);
});

for (const [isGood, ends] of [
  [true, false],
  [false, false],
  [true, true],
  [false, true],
]) {
  const when = `${isGood ? "once it has been judged" : "never, if it is refused"}${ends ? ", and the server has ended" : ""}`;
  test(`A certificate of TLS 1.2 passes ${when}`, async (t) => {
    const judged = Promise.withResolvers<PeerError | undefined>();
    const asked = Promise.withResolvers<readonly Buffer[]>();
    const judge = (ders: readonly Buffer[]) => {
      asked.resolve(ders);
      return judged.promise;
    };
    const { client, server, ends: both, fault } = await watched(t, [], { certificate: "must" }, judge);
    client.write(FIRST);
    await hear(server, FIRST.length);
    const flight = Buffer.concat([serverHello(0x0303), CERTIFICATE, Buffer.from("and more")]);
    if (ends) server.end(flight);
    else server.write(flight);
    assert.deepEqual(await asked.promise, [Buffer.from("leaf"), Buffer.from("issuer")]);
    if (ends) {
      client.write("more");
      await hear(server, 4);
    }
    judged.resolve(isGood ? undefined : new PeerError("It is refused", 42));
    assert.equal((await fault)?.message, isGood ? undefined : "It is refused");
    if (isGood) assert.ok((await hear(client, flight.length)).equals(flight));
    else {
      for (const end of both) end.close();
      await left(client);
      assert.ok(client.bytesRead < serverHello(0x0303).length + CERTIFICATE.length);
    }
  });
}

/** The socket's peer has ended the connection, in any way. */
async function left(socket: Socket): Promise<void> {
  await new Promise((resolve) => socket.resume().once("end", resolve).once("close", resolve));
}

/** Reads so many bytes of a socket of the test's. */
async function hear(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = socket.read(length);
    if (bytes) return bytes;
    await new Promise((resolve) => socket.once("readable", resolve));
  }
}
