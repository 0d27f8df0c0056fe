import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { connect, dial, openSocket } from "./dial.ts";
import { openEnds } from "./end.ts";
import { END, RESET } from "./layer.ts";
import { endAndSocket, endPair, loop, readBytes, readToEnd, writeAll } from "./test-ends.ts";
import { until } from "./wait.ts";

const TIME = { timeout: 10_000, late: "late" };

test("Peeked bytes stay where they are until they are consumed", async (t) => {
  const [end, peer] = await endAndSocket(t);
  peer.write("hello, world");
  const first = await until([end], () => end.peek()?.toString(), TIME);
  assert.equal(first, "hello, world");
  assert.equal(end.peek()?.toString(), "hello, world");
  end.consume(7);
  assert.equal(end.peek()?.toString(), "world");
  assert.equal((await readBytes(end, 5)).bytes.toString(), "world");
});

test("Bytes that were put back are read before those on the connection", async (t) => {
  const [end, peer] = await endAndSocket(t);
  peer.end("c");
  end.unread(Buffer.from("b"));
  end.unread(Buffer.from("a"));
  const { bytes, last } = await readToEnd(end);
  assert.deepEqual([bytes.toString(), last], ["abc", END]);
});

test("A peek at a connection whose peer has left names what it did", async (t) => {
  const [closed, closing] = await endAndSocket(t);
  closing.end();
  await assert.rejects(
    until([closed], () => closed.peek(), TIME),
    { name: "NetworkError", code: "EOF" },
  );
  const [broken, breaking] = await endAndSocket(t);
  breaking.resetAndDestroy();
  await assert.rejects(
    until([broken], () => broken.peek(), TIME),
    { name: "NetworkError", code: "ECONNRESET" },
  );
});

test("Both addresses of a connection are known, of both families", async (t) => {
  for (const host of ["127.0.0.1", "::1"]) {
    const [near, far] = await endPair(t, host);
    assert.equal(near.local()!.address, host);
    assert.deepEqual(near.local(), far.remote());
    assert.deepEqual(far.local(), near.remote());
    near.close();
    assert.equal(near.local(), undefined);
  }
});

test("What a socket does not take is kept and sent later, in order", async (t) => {
  const [near, far] = await endPair(t);
  const bytes = Buffer.alloc(20 * 1024 * 1024, "clearline");
  const [{ bytes: read }] = await Promise.all([readBytes(far, bytes.length), writeAll(near, bytes)]);
  assert.ok(read.equals(bytes));
});

test("A half-closed connection still takes bytes", async (t) => {
  const [end, peer] = await endAndSocket(t);
  peer.end("last");
  assert.equal((await readToEnd(end)).last, END);
  await writeAll(end, Buffer.from("answer"));
  end.fin();
  const [answer] = await once(peer.resume(), "data");
  assert.equal(String(answer), "answer");
  await once(peer, "end");
});

test("A reset is a reset for the peer, and a peer's reset is read as one", async (t) => {
  const [end, peer] = await endAndSocket(t);
  end.reset();
  const [error] = await once(peer.resume(), "error");
  assert.equal(error.code, "ECONNRESET");
  const [other, resetting] = await endAndSocket(t);
  resetting.resetAndDestroy();
  assert.equal((await readToEnd(other)).last, RESET);
});

test("An end that is closed twice is closed once, and reads as reset from then on", async (t) => {
  const [end] = await endAndSocket(t);
  const before = openEnds();
  end.close();
  end.reset();
  end.close();
  assert.equal(openEnds(), before - 1);
  assert.equal(end.read(loop.scratchAt, 1), RESET);
  assert.equal(end.write(loop.scratchAt, 1), true);
});

test("Who waits for an end that somebody closes is told", async (t) => {
  const [end] = await endAndSocket(t);
  const waiting = until([end], () => end.peek(), TIME);
  end.close();
  await assert.rejects(waiting, { name: "NetworkError", code: "ECONNRESET" });
});

test("A wait ends after its time with the given words", async (t) => {
  const [end] = await endAndSocket(t);
  const waiting = until([end], () => end.peek(), { timeout: 1, late: "The client sent nothing in time" });
  await assert.rejects(waiting, {
    name: "NetworkError",
    code: "ETIMEDOUT",
    message: "The client sent nothing in time",
  });
  assert.equal(end.task, undefined);
});

test("What an attempt throws ends the wait", async (t) => {
  const [end] = await endAndSocket(t);
  const attempt = () => {
    throw new Error("a bug");
  };
  await assert.rejects(until([end], attempt, TIME), { message: "a bug" });
});

test("A peer that leaves while nobody reads is noticed once", async (t) => {
  const [end, peer] = await endAndSocket(t);
  const left = new Promise<void>((resolve) => {
    end.onLeave = resolve;
  });
  peer.end("bytes that nobody reads");
  await left;
  assert.equal(end.hasLeft, true);
  assert.equal((await readToEnd(end)).bytes.toString(), "bytes that nobody reads");
});

test("A connection goes on as another end as often as it must, and what was said before it did is read there", async (t) => {
  const [end, peer] = await endAndSocket(t);
  let current = end;
  let closings = 0;
  end.onceClosed(() => {
    closings += 1;
  });
  // The descriptors of the first and the third are the same number.
  for (const word of ["one, ", "two, ", "three, ", "four"]) {
    peer.write(word);
    const next = current.detach();
    assert.equal(current.read(loop.scratchAt, 1), END);
    current = next;
    assert.equal((await readBytes(current, word.length)).bytes.toString(), word);
  }
  assert.equal(closings, 0);
  current.close();
  assert.equal(closings, 1);
});

test("A port that nobody listens on refuses, with the system's code", async () => {
  const before = openEnds();
  const to = { address: "127.0.0.1", port: 1 };
  await assert.rejects(connect(loop, openSocket(to.address), to, 10_000), {
    name: "NetworkError",
    code: "ECONNREFUSED",
  });
  await assert.rejects(dial(loop, ["127.0.0.1", "127.0.0.2"], 1, 10_000), {
    code: "ECONNREFUSED",
    message: "Cannot connect to 127.0.0.1, 127.0.0.2 port 1: ECONNREFUSED",
  });
  await assert.rejects(dial(loop, [], 443, 10_000), { name: "NetworkError", code: "ENOTFOUND" });
  assert.equal(openEnds(), before);
});

test("An engine that has nothing to do lets the process end", async () => {
  // The runner would wait for this file's process if the loop held it; a second loop is one more that must not.
  const { Loop } = await import("./loop.ts");
  assert.equal(new Loop().size, 0);
});
