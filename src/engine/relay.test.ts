import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { until as eventually } from "../../test/processes.ts";
import { NetworkError } from "../errors.ts";
import { End } from "./end.ts";
import { END } from "./layer.ts";
import { SCRATCH } from "./loop.ts";
import { type Meter, type RelayOptions, relay, type Tap } from "./relay.ts";
import { endAndSocket, endPair, loop, readBytes, readToEnd, writeAll } from "./test-ends.ts";
import { until } from "./wait.ts";

const MIB = 1024 * 1024;

interface Between {
  readonly client: Socket;
  readonly server: Socket;
  readonly ends: readonly [End, End];
  readonly meter: Meter;
  readonly over: ReturnType<typeof relay>;
}

/** A relay between two sockets of Node's. */
async function between(t: TestContext, options: Partial<RelayOptions> = {}): Promise<Between> {
  const [near, client] = await endAndSocket(t);
  const [far, server] = await endAndSocket(t);
  const meter: Meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(near, far, { meter, taps: [], idle: 60_000, plenty: 0, ...options });
  return { client, server, ends: [near, far], meter, over };
}

async function digest(socket: Socket): Promise<string> {
  const hash = createHash("sha256");
  for await (const bytes of socket.iterator({ destroyOnReturn: false })) hash.update(bytes);
  return hash.digest("hex");
}

function recorder(): Tap & { readonly log: string[]; readonly bytes: Record<"client" | "server", Buffer[]> } {
  const log: string[] = [];
  const bytes = { client: [] as Buffer[], server: [] as Buffer[] };
  return {
    log,
    bytes,
    // A copy: the view is the engine's.
    data: (from, some) => void bytes[from].push(Buffer.from(some)),
    end: (from) => void log.push(`${from} ended`),
    reset: (from) => void log.push(`${from} reset`),
    pressure: () => undefined,
  };
}

/** A connection as the side that sends sees it. */
type Ports = readonly [from: number, to: number];

/** Whether the receiver has closed its window, so that the sender's kernel only probes it: timer 4 of proc_net_tcp. */
function isShut(ports: Ports): boolean {
  const [from, to] = ports.map((port) => port.toString(16).toUpperCase().padStart(4, "0"));
  return new RegExp(` \\w+:${from} \\w+:${to} \\w+ \\S+ 04:`).test(readFileSync("/proc/net/tcp", "latin1"));
}

/**
 * Resolves once nothing more comes from this side, because the receiver does not read. `turn` carries something the other way, which
 * shows that the relay has run in between.
 */
async function standstill(
  meter: Meter,
  from: "fromClient" | "fromServer",
  ways: readonly Ports[],
  turn: () => Promise<unknown>,
): Promise<void> {
  await eventually("a relay at a standstill", async () => {
    const before = meter[from];
    await turn();
    return meter[from] === before && ways.every(isShut);
  });
}

for (const [way, taps] of [
  ["spliced", () => []],
  ["copied past a tap", () => [recorder()]],
] as const) {
  test(`Bytes go both ways at once, unchanged, and half-closes are carried (${way})`, async (t) => {
    const { client, server, meter, over } = await between(t, { taps: taps() });
    const [up, down] = [randomBytes(16 * MIB + 1), randomBytes(12 * MIB + 7)];
    client.end(up);
    server.end(down);
    const [atServer, atClient] = await Promise.all([digest(server), digest(client)]);
    assert.equal(atServer, createHash("sha256").update(up).digest("hex"));
    assert.equal(atClient, createHash("sha256").update(down).digest("hex"));
    const { clientLeft, serverLeft, failure } = await over;
    assert.deepEqual([clientLeft, serverLeft, failure], ["closed", "closed", undefined]);
    assert.deepEqual(countsOf(meter), {
      ...{ fromClient: up.length, toServer: up.length },
      ...{ fromServer: down.length, toClient: down.length },
    });
  });

  test(`After one side has ended, the other still sends (${way})`, async (t) => {
    const { client, server, over } = await between(t, { taps: taps() });
    client.end("question");
    assert.equal(await digest(server), createHash("sha256").update("question").digest("hex"));
    server.end("answer");
    assert.equal(await digest(client), createHash("sha256").update("answer").digest("hex"));
    assert.deepEqual(await over, {
      reason: "The client closed the connection",
      ...{ clientLeft: "closed", serverLeft: "closed", first: "client", failure: undefined },
    });
  });

  test(`A reset is carried across, and named (${way})`, async (t) => {
    for (const side of ["client", "server"] as const) {
      const both = await between(t, { taps: taps() });
      both[side].write("some");
      const other = side === "client" ? both.server : both.client;
      await once(other.resume(), "data");
      both[side].resetAndDestroy();
      const [error] = await once(other, "error");
      assert.equal(error.code, "ECONNRESET");
      const ending = await both.over;
      assert.equal(ending.reason, `The ${side} reset the connection`);
      assert.equal(ending.failure?.side, side);
      assert.equal(ending[`${side}Left`], "reset");
    }
  });

  test(`A reset behind an end is carried too (${way})`, async (t) => {
    // Ends of the engine's: Node neither resets a half-closed connection nor notices that one is reset.
    const [client, near] = await endPair(t);
    const [far, server] = await endPair(t);
    const meter: Meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
    const over = relay(near, far, { meter, taps: taps(), idle: 60_000, plenty: 0 });
    client.fin();
    assert.equal((await readToEnd(server)).last, END);
    client.reset();
    await until([server], () => server.isReset || undefined, { timeout: 10_000, late: "No reset came" });
    assert.equal((await over).reason, "The client reset the connection");
  });

  test(`A peer that does not read holds the other back (${way})`, async (t) => {
    const { client, server, ends, meter } = await between(t, { taps: taps() });
    // Nobody reads at the server: what passes is bounded by the kernel's buffers, whatever the client wants to send.
    const bytes = randomBytes(64 * MIB);
    client.end(bytes);
    const ways = [
      [client.localPort!, client.remotePort!],
      [ends[1].local()!.port, server.localPort!],
    ] as const;
    await standstill(meter, "fromClient", ways, () => {
      server.write(".");
      return once(client.resume(), "data");
    });
    assert.ok(meter.fromClient < 32 * MIB, `${meter.fromClient} bytes were taken`);
    assert.equal(await digest(server), createHash("sha256").update(bytes).digest("hex"));
  });
}

test("A relay of an end that the node has closed meanwhile blames the node, not the peer", async (t) => {
  const [near] = await endAndSocket(t);
  const [far] = await endAndSocket(t);
  near.reset(new NetworkError("The node was full", "EMFILE"));
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const { reason, failure, cut, clientLeft } = await relay(near, far, { meter, taps: [], idle: 60_000 });
  assert.deepEqual([reason, failure, cut, clientLeft], ["The node was full", undefined, "EMFILE", null]);
});

test("A tap sees everything in order, and the ends", async (t) => {
  const tap = recorder();
  const { client, server, over } = await between(t, { taps: [tap] });
  const up = randomBytes(3 * MIB);
  client.end(up);
  await digest(server);
  server.end("answer");
  await digest(client);
  await over;
  assert.ok(Buffer.concat(tap.bytes.client).equals(up));
  assert.equal(Buffer.concat(tap.bytes.server).toString(), "answer");
  assert.deepEqual(tap.log, ["client ended", "server ended"]);
});

test("A tap is shown at most what fits into two packets of a feed", async (t) => {
  const tap = recorder();
  const { client, server, over } = await between(t, { taps: [tap] });
  const down = randomBytes(4 * MIB);
  server.end(down);
  assert.equal(await digest(client), createHash("sha256").update(down).digest("hex"));
  client.end();
  await over;
  assert.ok(Buffer.concat(tap.bytes.server).equals(down));
  // 44 segments of an MTU of 1,500 bytes each.
  assert.ok(tap.bytes.server.every(({ length }) => length <= 2 * 44 * 1460));
});

test("A tap that is full holds the reader until it can take more", async (t) => {
  const releases: (() => void)[] = [];
  let full = true;
  const tap = recorder();
  const slow: Tap = {
    ...tap,
    pressure: () =>
      full
        ? new Promise((resolve) => {
            releases.push(resolve);
          })
        : undefined,
  };
  const { client, server, meter } = await between(t, { taps: [slow] });
  client.write("first");
  await once(server.resume(), "data");
  server.pause();
  client.write("second");
  // The other direction goes on, which shows that the relay has run since.
  server.write("down");
  await once(client.resume(), "data");
  assert.equal(meter.fromClient, 5);
  full = false;
  for (const release of releases) release();
  const [bytes] = await once(server.resume(), "data");
  assert.equal(String(bytes), "second");
});

test("A sieve takes off what is not the session's, in any pieces", async (t) => {
  let left = 6;
  const sieve = {
    take(bytes: Buffer) {
      const cut = Math.min(left, bytes.length);
      left -= cut;
      return bytes.subarray(cut);
    },
    end: () => Buffer.from(" (end)"),
  };
  const { client, server, meter } = await between(t, { sieves: { client: sieve } });
  client.end("PREFIXpayload");
  assert.equal(await digest(server), createHash("sha256").update("payload (end)").digest("hex"));
  assert.equal(meter.toServer, "payload (end)".length);
});

test("What comes while the receiver takes no more wakes nobody up, and goes on in order (spliced)", async (t) => {
  const { client, server, ends, meter, over } = await between(t);
  const sent = createHash("sha256");
  const send = (length: number) => {
    const piece = randomBytes(length);
    sent.update(piece);
    server.write(piece);
  };
  server.resume();
  const turn = async () => {
    client.write("x");
    await once(server, "data");
  };
  // Its receiver is full, and its own window still open.
  for (let before = -1; meter.fromServer > before; await turn()) {
    before = meter.fromServer;
    send(32 * 1024);
  }
  let told = 0;
  const [, far] = ends;
  far.notice = (events) => {
    told += 1;
    End.prototype.notice.call(far, events);
  };
  for (let piece = 0; piece < 20; piece += 1) {
    send(100);
    await turn();
  }
  assert.ok(told < 5, `${told} events`);
  server.end();
  assert.equal(await digest(client), sent.digest("hex"));
  client.end();
  assert.equal((await over).failure, undefined);
});

test("Nothing passed for the idle time: both are reset", async (t) => {
  const { client, server, over } = await between(t, { idle: 1 });
  await Promise.all([once(client.resume(), "error"), once(server.resume(), "error")]);
  assert.equal((await over).reason, "Nothing passed for 0.001 s");
});

test("An end that somebody closes ends its relay and the other side", async (t) => {
  const { client, server, ends, over } = await between(t);
  ends[0].reset();
  await Promise.all([once(client.resume(), "error"), once(server.resume(), "error")]);
  assert.equal((await over).reason, "The connection was closed");
});

test("A small request is answered beside large transfers", async (t) => {
  const busy = await Promise.all(Array.from({ length: 8 }, () => between(t)));
  const flood = Buffer.alloc(MIB, 1);
  for (const { client, server } of busy) {
    const more = () => {
      while (!server.destroyed && server.write(flood));
    };
    server.on("drain", more);
    more();
    client.resume();
  }
  const small = await between(t);
  for (let turn = 0; turn < 20; turn += 1) {
    small.client.write(`${turn}`);
    await once(small.server.resume(), "data");
    small.server.pause();
  }
  for (const { client, server } of busy) {
    client.destroy();
    server.destroy();
  }
});

/** Two peers that are ends of the engine, and what is between them. Node neither resets a half-closed connection nor hears it. */
async function betweenEnds(t: TestContext, options: Partial<RelayOptions> = {}) {
  const [client, near] = await endPair(t);
  const [far, server] = await endPair(t);
  const meter: Meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const begin = () => relay(near, far, { meter, taps: [], idle: 60_000, plenty: 0, ...options });
  return { client, server, near, far, meter, begin };
}

const TIME = { timeout: 10_000, late: "It did not come" };
const isReset = (end: End) => until([end], () => end.isReset || undefined, TIME);

/** Has this side write until nothing more is taken, by the kernel and by the relay. */
async function fill(
  { client, server, near, far, meter }: Awaited<ReturnType<typeof betweenEnds>>,
  side: "client" | "server",
): Promise<void> {
  const [from, through, to] = side === "client" ? [client, far, server] : [server, near, client];
  const ways = [from, through].map((end) => [end.local()!.port, end.remote()!.port] as const);
  await standstill(meter, side === "client" ? "fromClient" : "fromServer", ways, async () => {
    while (from.flush()) from.write(from.loop.scratchAt, SCRATCH);
    await writeAll(to, Buffer.from("."));
    await readBytes(from, 1);
  });
}

for (const [way, taps] of [
  ["spliced", () => []],
  ["copied past a tap", () => [recorder()]],
] as const) {
  for (const [first, second] of [
    ["client", "server"],
    ["server", "client"],
  ] as const) {
    const says = (what: string) => `${what} (${first} first, ${way})`;

    test(
      says("A half-close is carried, the other direction goes on, and the record says who left first"),
      async (t) => {
        const { begin, ...peers } = await betweenEnds(t, { taps: taps() });
        const over = begin();
        await writeAll(peers[first], Buffer.from("last words"));
        peers[first].fin();
        assert.equal(String((await readToEnd(peers[second])).bytes), "last words");
        await writeAll(peers[second], Buffer.from("an answer"));
        peers[second].fin();
        assert.equal(String((await readToEnd(peers[first])).bytes), "an answer");
        const ending = await over;
        assert.deepEqual([ending.reason, ending.first], [`The ${first} closed the connection`, first]);
      },
    );

    test(says("A reset says whose it was, and nothing of the other"), async (t) => {
      const { begin, ...peers } = await betweenEnds(t, { taps: taps() });
      const over = begin();
      peers[first].reset();
      await isReset(peers[second]);
      const ending = await over;
      assert.deepEqual([ending.failure?.side, ending[`${first}Left`], ending[`${second}Left`]], [first, "reset", null]);
    });

    test(says("A reset behind a half-close is carried"), async (t) => {
      const { begin, ...peers } = await betweenEnds(t, { taps: taps() });
      const over = begin();
      peers[first].fin();
      assert.equal((await readToEnd(peers[second])).last, END);
      peers[first].reset();
      await isReset(peers[second]);
      assert.equal((await over)[`${first}Left`], "reset");
    });

    test(says("A reset while the other does not read is carried as soon as it reads"), async (t) => {
      const peers = await betweenEnds(t, { taps: taps() });
      const over = peers.begin();
      await fill(peers, first);
      peers[first].reset();
      await readToEnd(peers[second]);
      assert.equal((await over)[`${first}Left`], "reset");
    });

    test(says("A reset of one that does not read reaches the one that sends"), async (t) => {
      const peers = await betweenEnds(t, { taps: taps() });
      const over = peers.begin();
      await fill(peers, first);
      peers[second].reset();
      await isReset(peers[first]);
      assert.equal((await over)[`${second}Left`], "reset");
    });

    test(says("The node's own end, reset after a half-close, resets the other"), async (t) => {
      const { begin, near, far, ...peers } = await betweenEnds(t, { taps: taps() });
      const over = begin();
      peers[first].fin();
      assert.equal((await readToEnd(peers[second])).last, END);
      (first === "client" ? near : far).reset();
      await isReset(peers[second]);
      await over;
    });

    test(says("A peer that was gone before the relay began ends the other too"), async (t) => {
      const { begin, near, far, ...peers } = await betweenEnds(t, { taps: taps() });
      peers[first].reset();
      await isReset(first === "client" ? near : far);
      const over = begin();
      await isReset(peers[second]);
      const ending = await over;
      assert.deepEqual([ending.reason, ending.failure?.side], [`The ${first} reset the connection`, first]);
    });

    test(says("A peer that had ended before the relay began may still be answered"), async (t) => {
      const { begin, near, far, ...peers } = await betweenEnds(t, { taps: taps() });
      peers[first].fin();
      const own = first === "client" ? near : far;
      await until([own], () => own.hasLeft || undefined, TIME);
      const over = begin();
      assert.equal((await readToEnd(peers[second])).last, END);
      await writeAll(peers[second], Buffer.from("an answer"));
      peers[second].fin();
      assert.equal(String((await readToEnd(peers[first])).bytes), "an answer");
      assert.equal((await over).reason, `The ${first} closed the connection`);
    });

    test(says("An end that was closed before the relay began ends it at once"), async (t) => {
      const { begin, near, far, ...peers } = await betweenEnds(t, { taps: taps() });
      (first === "client" ? near : far).close();
      // Its descriptor is free, and the next connection gets it: nothing of that one may be touched.
      const [other, another] = await endPair(t);
      await writeAll(other, Buffer.from("not yours"));
      assert.equal((await begin()).reason, `The ${first} reset the connection`);
      await isReset(peers[second]);
      assert.equal(String((await readBytes(another, 9)).bytes), "not yours");
    });
  }
}

test("Both ends closed before the relay began is an end at once", async (t) => {
  const { begin, near, far } = await betweenEnds(t);
  near.close();
  far.close();
  assert.match((await begin()).reason, /reset the connection/);
});

test("A server that closes with bytes unread resets the client that still sends", async (t) => {
  const { client, server, begin } = await betweenEnds(t);
  const over = begin();
  client.writeBytes(Buffer.alloc(8 * MIB));
  await readBytes(server, 1);
  server.close();
  await isReset(client);
  assert.equal((await over).serverLeft, "reset");
});

test("What was put back before the relay began goes first, past the taps, and is counted", async (t) => {
  const tap = recorder();
  const { client, server, near, far, meter, begin } = await betweenEnds(t, { taps: [tap] });
  near.unread(Buffer.from("hello "));
  far.unread(Buffer.from("220 "));
  const over = begin();
  await writeAll(client, Buffer.from("there"));
  client.fin();
  await writeAll(server, Buffer.from("ready"));
  server.fin();
  assert.equal(String((await readToEnd(server)).bytes), "hello there");
  assert.equal(String((await readToEnd(client)).bytes), "220 ready");
  await over;
  assert.deepEqual(countsOf(meter), { fromClient: 11, fromServer: 9, toClient: 9, toServer: 11 });
  assert.equal(String(Buffer.concat(tap.bytes.client)), "hello there");
});

test("A server that has ended and never reads what the client left does not hold the session forever", async (t) => {
  const peers = await betweenEnds(t, { idle: 500 });
  const { server, near, far, begin } = peers;
  const over = begin();
  await fill(peers, "client");
  server.fin();
  await over;
  assert.deepEqual([near.isOpen, far.isOpen], [false, false]);
});

test("Taps see ends and resets in the order in which they came", async (t) => {
  const tap = recorder();
  const { client, server, begin } = await betweenEnds(t, { taps: [tap] });
  const over = begin();
  await writeAll(server, Buffer.from("answer"));
  server.fin();
  await readToEnd(client);
  client.reset();
  await over;
  assert.deepEqual(tap.log, ["server ended", "client reset"]);
});

test("No descriptor is left when relays are over, of pipes neither", async (t) => {
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  for (let round = 0; round < 5; round += 1) {
    const { client, server, begin } = await betweenEnds(t);
    const over = begin();
    client.writeBytes(Buffer.alloc(MIB));
    server.fin();
    await readToEnd(client);
    client.reset();
    await over;
    server.close();
  }
  assert.equal(open(), before);
});

test("Small messages are copied; what follows many bytes is moved by the kernel, and arrives in order", async (t) => {
  const { client, server, meter, over } = await between(t, { plenty: MIB });
  const [first, many, last] = [randomBytes(1000), randomBytes(2 * MIB), randomBytes(1000)];
  const whole = digest(server);
  let sent = 0;
  for (const [bytes, isCopied] of [
    [first, true],
    [many, true],
    [last, false],
  ] as const) {
    loop.scratch.fill(0);
    client.write(bytes);
    sent += bytes.length;
    await eventually("all of them", () => meter.toServer === sent);
    assert.equal(loop.scratch[0] !== 0 || loop.scratch[1] !== 0, isCopied);
  }
  client.end();
  assert.equal(await whole, createHash("sha256").update(first).update(many).update(last).digest("hex"));
  server.end();
  await over;
});

test("A bug in a tap ends its own relay only, which rejects with it", async (t) => {
  const broken: Tap = {
    ...recorder(),
    data: () => {
      throw new Error("a bug");
    },
  };
  const [sick, sound] = [await between(t, { taps: [broken] }), await between(t)];
  const resets = [sick.client, sick.server].map((socket) => once(socket.resume(), "error"));
  sick.client.write("some");
  await assert.rejects(sick.over, { message: "a bug" });
  for (const [error] of await Promise.all(resets)) assert.equal(error.code, "ECONNRESET");
  sound.client.end("still here");
  assert.equal(await digest(sound.server), createHash("sha256").update("still here").digest("hex"));
});

test("A bug in a tap disturbs nobody else who ends the session, or lets an end pass", async (t) => {
  const bug = () => {
    throw new Error("a bug");
  };
  const early = () => ({ until: Promise.resolve(), isEarly: false });
  const ended = await between(t, { taps: [{ ...recorder(), reset: bug }] });
  const held = await between(t, { taps: [{ ...recorder(), end: bug }], early });
  const rejections = [ended, held].map(({ over }) => assert.rejects(over, { message: "a bug" }));
  ended.ends[0].reset(new NetworkError("The node was full", "EMFILE"));
  held.client.end();
  await Promise.all(rejections);
});

/** The bytes alone, once the server's first byte has its time. */
function countsOf({ firstByte, ...counts }: Meter): Omit<Meter, "firstByte"> {
  assert.ok(firstByte !== undefined && firstByte <= Date.now());
  return counts;
}
