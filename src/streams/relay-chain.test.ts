import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setImmediate, setTimeout } from "node:timers/promises";
import type { End } from "../engine/end.ts";
import type { Meter, RelayEnding } from "../engine/relay.ts";
import { endAndSocket } from "../engine/test-ends.ts";
import { type RelayHop, relayThrough } from "./relay-chain.ts";

interface World {
  readonly client: Socket;
  readonly server: Socket;
  /** The tools' own ends of Ta and Tb. */
  readonly tools: readonly { readonly a: Socket; readonly b: Socket }[];
  readonly meter: Meter;
  readonly parting: Promise<RelayEnding>;
}

/** `back`: how the connection of each tool comes back. `patience`: ms for what is still on its way after a reset. */
async function world(
  t: TestContext,
  count: number,
  back: (index: number, tb: End) => Promise<End> = (_, tb) => Promise.resolve(tb),
  patience = 100,
): Promise<World> {
  const [[near, client], [far, server]] = [await endAndSocket(t), await endAndSocket(t)];
  const tools: { a: Socket; b: Socket }[] = [];
  const hops: RelayHop[] = [];
  for (let index = 0; index < count; index += 1) {
    const [[ta, a], [tb, b]] = [await endAndSocket(t), await endAndSocket(t)];
    tools.push({ a, b });
    hops.push({ tool: `tool${index}`, ta, tb: back(index, tb) });
  }
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const parting = relayThrough(near, hops, far, { meter, taps: [], idle: 60_000, patience });
  return { client, server, tools, meter, parting };
}

/** A tool that changes what the client says and lets the answers through. */
function work({ a, b }: World["tools"][number], change: (bytes: Buffer) => Buffer): void {
  a.resume().on("data", (bytes: Buffer) => b.write(change(bytes)));
  a.on("end", () => b.end());
  b.resume().on("data", (bytes) => a.write(bytes));
  b.on("end", () => a.end());
}

async function readAll(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.resume().on("data", (part: Buffer) => parts.push(part));
  await once(socket, "end");
  return String(Buffer.concat(parts));
}

function resetOf(socket: Socket): Promise<string | undefined> {
  socket.resume();
  return new Promise((resolve) => {
    socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code));
    socket.once("close", () => resolve(undefined));
  });
}

test("What the client says passes the tools in order, and so does what they change; each leg counts its own bytes", async (t) => {
  const { client, server, tools, meter, parting } = await world(t, 2);
  work(tools[0]!, (bytes) => Buffer.concat([bytes, Buffer.from("+first")]));
  work(tools[1]!, (bytes) => Buffer.concat([bytes, Buffer.from("+second")]));
  const atClient = readAll(client);
  const atServer = readAll(server);
  client.end("request");
  assert.equal(await atServer, "request+first+second");
  server.end("answer");
  assert.equal(await atClient, "answer");
  const { reason, clientLeft, serverLeft, failure } = await parting;
  assert.deepEqual(
    [reason, clientLeft, serverLeft, failure],
    ["The client closed the connection", "closed", "closed", undefined],
  );
  assert.deepEqual(meter, { fromClient: 7, toServer: 20, fromServer: 6, toClient: 6 });
});

test("A tool that resets Ta ends the session: both peers are reset, though nothing was heard at Tb", async (t) => {
  const { client, server, tools, parting } = await world(t, 1);
  const resets = Promise.all([resetOf(client), resetOf(server)]);
  tools[0]!.a.resetAndDestroy();
  assert.deepEqual(await resets, ["ECONNRESET", "ECONNRESET"]);
  const { reason, clientLeft, serverLeft } = await parting;
  assert.equal(reason, "The tool tool0 reset the connection");
  assert.deepEqual([clientLeft, serverLeft], [null, null]);
});

test("A tool that answers by itself is heard by the client, though it resets the server's side", async (t) => {
  const { client, server, tools, parting } = await world(t, 1, undefined, 10_000);
  const atClient = readAll(client);
  const reset = resetOf(server);
  client.write("GET /forbidden");
  await once(tools[0]!.a.resume(), "data");
  tools[0]!.b.resetAndDestroy();
  assert.equal(await reset, "ECONNRESET");
  tools[0]!.a.end("403 blocked");
  assert.equal(await atClient, "403 blocked");
  client.end();
  const { reason, clientLeft } = await parting;
  assert.deepEqual([reason, clientLeft], ["The tool tool0 reset the connection", "closed"]);
});

for (const [what, said] of [
  ["in the middle of an answer", "half of an"],
  ["without an answer", ""],
] as const) {
  test(`A tool that leaves both sides ${what} does not make it look complete: the client is reset`, async (t) => {
    const { client, server, tools, parting } = await world(t, 1);
    const reset = resetOf(client);
    const [{ a, b }] = tools as [World["tools"][number]];
    client.write("request");
    a.resume();
    await once(a, "data");
    b.write("request");
    await once(server.resume(), "data");
    if (said !== "") {
      server.write(said);
      await once(b.resume(), "data");
      a.write(said);
      await once(client, "data");
    }
    // As many servers do, it answers the end with its own.
    server.on("end", () => server.end());
    a.end();
    b.end();
    assert.equal(await reset, "ECONNRESET");
    const { reason, cut } = await parting;
    assert.deepEqual([reason, cut], ["The tool tool0 ended the session by itself", "ETOOLEND"]);
  });
}

/** The tool passes a request on, and has the server's whole answer. */
async function answerWhole(client: Socket, server: Socket, { a, b }: World["tools"][number]): Promise<void> {
  client.write("request");
  await once(a.resume(), "data");
  b.write("request");
  await once(server.resume(), "data");
  server.end("the whole answer");
  await once(b.resume(), "end");
}

for (const order of ["before", "after"] as const) {
  test(`A tool that was killed with an answer unread, which the server had ended, resets the client: the news came ${order} its end`, async (t) => {
    const { client, server, tools, parting } = await world(t, 1);
    const [{ a, b }] = tools as [World["tools"][number]];
    a.on("error", () => undefined);
    await answerWhole(client, server, { a, b });
    const reset = resetOf(client);
    a.write("the whole");
    const acts = [() => a.end(), () => b.resetAndDestroy()];
    for (const act of order === "before" ? acts.reverse() : acts) {
      act();
      await setImmediate();
    }
    assert.equal(await reset, "ECONNRESET");
    assert.equal((await parting).cut, "ETOOLEND");
  });
}

test("A tool that leaves something out of an answer may end it, whether it closes the server's connection or not", async (t) => {
  for (const closes of [true, false]) {
    const { client, server, tools, parting } = await world(t, 1);
    const [{ a, b }] = tools as [World["tools"][number]];
    await answerWhole(client, server, { a, b });
    const answer = readAll(client);
    a.end("the answer");
    if (closes) b.end();
    assert.equal(await answer, "the answer");
    client.end();
    b.end();
    assert.equal((await parting).cut, undefined);
  }
});

test("A tool that has left something out of a request may still answer by itself when the server breaks later", async (t) => {
  const { client, server, tools } = await world(t, 1, undefined, 10_000);
  const [{ a, b }] = tools as [World["tools"][number]];
  const answer = readAll(client);
  client.end("the whole request");
  await once(a.resume(), "end");
  b.end("the request");
  await once(server.resume(), "end");
  const broken = resetOf(b);
  server.resetAndDestroy();
  assert.equal(await broken, "ECONNRESET");
  // Timers run in the order in which they were set: one that resets the client at once has run by then.
  await setTimeout(0);
  a.end("502 the server broke off");
  assert.equal(await answer, "502 the server broke off");
});

test("The second tool's own answer, after which it leaves both sides, ends as it was meant", async (t) => {
  const { client, server, tools, parting } = await world(t, 2);
  const [first, second] = tools as [World["tools"][number], World["tools"][number]];
  work(first, (bytes) => bytes);
  const atClient = readAll(client);
  server.resume().on("end", () => server.end());
  client.write("GET /forbidden");
  await once(second.a.resume(), "data");
  second.a.end("403 blocked");
  second.b.end();
  assert.equal(await atClient, "403 blocked");
  client.end();
  assert.equal((await parting).clientLeft, "closed");
});

test("A tool that closes the server's connection after its answer has not ended the session: the client does", async (t) => {
  const { client, server, tools, parting } = await world(t, 1);
  const [{ a, b }] = tools as [World["tools"][number]];
  client.write("request");
  await once(a.resume(), "data");
  b.write("request");
  await once(server.resume(), "data");
  server.on("end", () => server.end()).write("answer");
  await once(b.resume(), "data");
  a.on("end", () => a.end()).write("answer");
  await once(client.resume(), "data");
  b.end();
  await once(b, "end");
  const atClient = readAll(client);
  client.end();
  assert.equal(await atClient, "");
  assert.equal((await parting).reason, "The client closed the connection");
});

test("A reset of the client reaches the server when the tool passes it on to nobody", async (t) => {
  const { client, server, parting } = await world(t, 2);
  const reset = resetOf(server);
  client.resetAndDestroy();
  assert.equal(await reset, "ECONNRESET");
  const { reason, clientLeft } = await parting;
  assert.deepEqual([reason, clientLeft], ["The client reset the connection", "reset"]);
});

test("A reset of the server reaches the client when the tool passes it on", async (t) => {
  const { client, server, tools, parting } = await world(t, 1);
  tools[0]!.b.once("error", () => tools[0]!.a.resetAndDestroy());
  tools[0]!.b.resume();
  const reset = resetOf(client);
  server.resetAndDestroy();
  assert.equal(await reset, "ECONNRESET");
  const { reason, serverLeft } = await parting;
  assert.deepEqual([reason, serverLeft], ["The server reset the connection", "reset"]);
});

test("A tool that connects only when it has read something gets to read it first", async (t) => {
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const { client, server, tools } = await world(t, 1, async (_, tb) => {
    await asked;
    return tb;
  });
  work(tools[0]!, (bytes) => bytes);
  tools[0]!.a.resume().once("data", () => ask());
  client.write("hello");
  const [heard] = await once(server.resume(), "data");
  assert.equal(String(heard), "hello");
});

test("When nothing comes back from a tool both peers are reset, with the reason", async (t) => {
  const { promise, reject } = Promise.withResolvers<End>();
  const { client, server, parting } = await world(t, 1, () => promise);
  const resets = Promise.all([resetOf(client), resetOf(server)]);
  await setImmediate();
  reject(new Error("Nothing came back from the tool in 10 s"));
  assert.deepEqual(await resets, ["ECONNRESET", "ECONNRESET"]);
  assert.equal((await parting).reason, "Nothing came back from the tool in 10 s");
});

test("A bug in one stretch resets all of them, and the way through the tools rejects with it", async (t) => {
  const [[near, client], [far, server]] = [await endAndSocket(t), await endAndSocket(t)];
  const [[ta, a], [tb, b]] = [await endAndSocket(t), await endAndSocket(t)];
  const bug = () => {
    throw new Error("a bug");
  };
  const tap = { data: bug, end: () => {}, reset: () => {}, pressure: () => undefined };
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const hops = [{ tool: "ips", ta, tb: Promise.resolve(tb) }];
  const over = relayThrough(near, hops, far, { meter, taps: [tap], idle: 60_000 });
  const resets = [client, a, b, server].map(resetOf);
  client.write("some");
  await assert.rejects(over, { message: "a bug" });
  assert.deepEqual(await Promise.all(resets), Array(4).fill("ECONNRESET"));
});
