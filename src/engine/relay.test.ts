import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import type { End } from "./end.ts";
import { END } from "./layer.ts";
import { type Meter, type RelayOptions, relay, type Tap } from "./relay.ts";
import { endAndSocket, endPair, readToEnd } from "./test-ends.ts";
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
  const over = relay(near, far, { meter, taps: [], idle: 60_000, ...options });
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
    assert.deepEqual(meter, {
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
    const over = relay(near, far, { meter, taps: taps(), idle: 60_000 });
    client.fin();
    assert.equal((await readToEnd(server)).last, END);
    client.reset();
    await until([server], () => server.isReset || undefined, { timeout: 10_000, late: "No reset came" });
    assert.equal((await over).reason, "The client reset the connection");
  });

  test(`A peer that does not read holds the other back (${way})`, async (t) => {
    const { client, server, meter } = await between(t, { taps: taps() });
    // Nobody reads at the server: what passes is bounded by the kernel's buffers, whatever the client wants to send.
    const bytes = randomBytes(64 * MIB);
    client.end(bytes);
    let before = -1;
    for (; meter.fromClient !== before; await new Promise((resolve) => setTimeout(resolve, 300))) {
      before = meter.fromClient;
    }
    assert.ok(before < 32 * MIB, `${before} bytes were taken`);
    assert.equal(await digest(server), createHash("sha256").update(bytes).digest("hex"));
  });
}

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
