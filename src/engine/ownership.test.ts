import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { duplexPair } from "node:stream";
import { type TestContext, test } from "node:test";
import { createSecureContext, TLSSocket } from "node:tls";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { until as eventually } from "../../test/processes.ts";
import { make } from "../pki/x509/test-chain.ts";
import { VERSIONS } from "../vocabulary.ts";
import { checkEngine } from "./check.ts";
import { Context } from "./contexts.ts";
import type { End } from "./end.ts";
import { farewell } from "./farewell.ts";
import { BROKEN, END, NOTHING_NOW, RESET } from "./layer.ts";
import { Loop, SCRATCH, type Task } from "./loop.ts";
import { copyFrom, permanent } from "./native.ts";
import { liveConnections, OpensslLayer, type OpensslOptions } from "./openssl-layer.ts";
import { withPem } from "./pem.ts";
import { relay } from "./relay.ts";
import { acceptOne, endAndSocket, endPair, loop, readBytes, readToEnd, shake, writeAll, writer } from "./test-ends.ts";
import { until } from "./wait.ts";

/** What would crash the process, hang a session, or mix two of them up. */

checkEngine();

const TIME = { timeout: 10_000, late: "late" };
const { pem, keyPem } = await make({ subject: "CN=ownership.test", names: [["dns", "ownership.test"]] });
const common = {
  ...{ minVersion: VERSIONS["TLSv1.2"], maxVersion: VERSIONS["TLSv1.3"], tickets: true, sessions: true, keyLog: true },
  ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
};
const clientContext = new Context({ role: "client", ...common, alpn: [] });
const serverContext = new Context({
  ...{ role: "server", ...common, identities: [{ certificatePem: pem, keyPem }], sessionTimeout: 300 },
});

function client(end: End, more: Partial<OpensslOptions> = {}): OpensslLayer {
  return new OpensslLayer({ end, writer, context: clientContext, ...more });
}

function server(end: End, more: Partial<OpensslOptions> = {}): OpensslLayer {
  return new OpensslLayer({ end, writer, context: serverContext, ...more });
}

async function tlsPair(t: TestContext): Promise<[End, End]> {
  const [near, far] = await endPair(t);
  await Promise.all([shake(near, client(near)), shake(far, server(far))]);
  return [near, far];
}

async function cannotHandle(emit: () => void): Promise<unknown> {
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  try {
    const caught = once(process, "uncaughtException");
    emit();
    const [error] = await caught;
    return error;
  } finally {
    for (const listener of before) process.on("uncaughtException", listener);
  }
}

test("A bug in whoever waits for a connection stops neither the loop nor the other connections", async (t) => {
  const [near, far] = await endPair(t);
  const broken: Task = {
    queued: false,
    run: () => {
      throw new Error("a bug");
    },
    fail: (error) => {
      throw error;
    },
  };
  assert.equal(((await cannotHandle(() => loop.enqueue(broken))) as Error).message, "a bug");
  await writeAll(near, Buffer.from("still here"));
  assert.equal((await readBytes(far, 10)).bytes.toString(), "still here");
});

test("A bug while an event is told ends that connection only, and whoever waits for it fails with the bug", async (t) => {
  const [near, far] = await endPair(t);
  const [other, otherFar] = await endPair(t);
  near.onLeave = () => {
    throw new Error("a bug");
  };
  const waiting = until([near], () => undefined, TIME);
  far.fin();
  await assert.rejects(waiting, { message: "a bug" });
  assert.equal(near.isOpen, false);
  await writeAll(other, Buffer.from("still here"));
  assert.equal((await readBytes(otherFar, 10)).bytes.toString(), "still here");
});

test("An end is readable as long as a layer has plaintext, also when the socket is empty", async (t) => {
  const [near, far] = await endPair(t);
  const up = shake(near, client(near));
  // Behind bytes that were put back the layer does not read from the socket itself.
  const { bytes } = await readBytes(far, 5);
  far.unread(bytes);
  await Promise.all([up, shake(far, server(far))]);
  await writeAll(near, Buffer.alloc(20_000, 1));
  await until([far], () => (far.peek()?.length ?? 0) > 20_000 || undefined, TIME);
  for (let got = 0; got < 20_000; ) {
    assert.equal(far.readable, true, `${got} bytes were read`);
    got += far.read(loop.scratchAt, 1_000);
  }
});

test("A reset of a receiver that did not read ends a spliced relay, although bytes wait for it", async (t) => {
  const [peer, near] = await endPair(t);
  const [far, socket] = await endAndSocket(t);
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(near, far, { meter, taps: [], idle: 60_000, plenty: 0 });
  await fill(peer);
  socket.resetAndDestroy();
  assert.equal((await over).failure?.side, "server");
});

/** Writes until the connection takes no more, for a while. */
async function fill(end: End): Promise<void> {
  for (let quiet = 0; quiet < 20; quiet += 1) {
    const sent = end.send(loop.scratchAt, SCRATCH);
    if (sent > 0) quiet = 0;
    await new Promise(setImmediate);
  }
}

test("A layer that is closed by its own callback is freed when the call into OpenSSL is over", async (t) => {
  const before = liveConnections();
  for (let round = 0; round < 10; round += 1) {
    const [near, far] = await endPair(t);
    let lines = 0;
    const layer = client(near, {
      onKey: () => {
        lines += 1;
        if (lines === 2) near.close();
      },
    });
    near.push(layer);
    const other = shake(far, server(far));
    await assert.rejects(shake(near, layer), { name: "NetworkError" });
    await other;
    far.close();
  }
  assert.equal(liveConnections(), before);
  assert.equal(writer.lent, 0);
});

test("What a callback throws ends its own session only", async (t) => {
  const [near, far] = await endPair(t);
  const [other, otherFar] = await tlsPair(t);
  const layer = client(near, {
    onKey: () => {
      throw new Error("a bug");
    },
  });
  void shake(far, server(far));
  await assert.rejects(shake(near, layer), { message: "a bug" });
  near.close();
  await writeAll(other, Buffer.from("still here"));
  assert.equal((await readBytes(otherFar, 10)).bytes.toString(), "still here");
});

test("An error that somebody else has left in OpenSSL's queue is not this connection's", async (t) => {
  const [near, far] = await tlsPair(t);
  await writeAll(far, Buffer.from("x"));
  await readBytes(near, 1);
  const { crypto } = await import("./native.ts");
  assert.equal(
    withPem("no certificate", (bio) => crypto.PEM_read_bio_X509(bio, 0, 0, 0)),
    0,
  );
  assert.notEqual(crypto.ERR_peek_error(), 0);
  assert.equal(near.read(loop.scratchAt, 1), NOTHING_NOW);
});

test("After an error a layer answers the same again, and OpenSSL is not called", async (t) => {
  const [near, far] = await tlsPair(t);
  Buffer.alloc(64, 0x17).copy(loop.scratch);
  near.send(loop.scratchAt, 64);
  assert.equal((await readToEnd(far)).last, BROKEN);
  const { failure, alertSent } = far.layer!;
  for (let again = 0; again < 3; again += 1) {
    assert.equal(far.read(loop.scratchAt, 1), BROKEN);
    far.write(loop.scratchAt, 10);
    far.finish();
    assert.equal(far.layer!.handshake(), failure);
  }
  assert.deepEqual([far.layer!.failure, far.layer!.alertSent], [failure, alertSent]);
});

test("A connection that is reset beneath TLS reads as reset, and not as a fault of the protocol", async (t) => {
  const [near, far] = await tlsPair(t);
  await writeAll(far, Buffer.from("x"));
  near.reset();
  assert.equal((await readToEnd(far)).last, RESET);
  assert.equal(far.layer!.failure, undefined);
});

test("What is asked of a layer after its end was closed is an error, and no crash", async (t) => {
  const [near] = await tlsPair(t);
  const layer = near.layer as OpensslLayer;
  near.close();
  for (const ask of ["agreed", "peerChain", "staple", "shownIdentity"] as const) {
    assert.throws(() => layer[ask](), { name: "NetworkError", code: "ECONNRESET" }, ask);
  }
  layer.free();
  assert.equal(layer.flush(), true);
  assert.equal(layer.write(loop.scratchAt, 1), true);
  layer.finish();
  assert.equal(layer.isBroken, true);
});

test("An end that is closed by whoever is told of its bytes writes no more", async (t) => {
  const [outer, far] = await tlsPair(t);
  await Promise.all([shake(outer, client(outer)), shake(far, server(far))]);
  outer.onWritten = () => outer.close();
  outer.writeBytes(Buffer.alloc(4 * SCRATCH));
  assert.equal(outer.isOpen, false);
  assert.equal(outer.flush(), true);
});

test("Last words to a peer that never stops sending leave others their turn, and end in time", async (t) => {
  const { accepted, port, close } = acceptOne();
  const flood = spawn("bash", ["-c", `cat /dev/zero >/dev/tcp/127.0.0.1/${port}`], { stdio: "ignore" });
  t.after(() => flood.kill());
  const end = await accepted;
  close();
  await farewell(end, Buffer.from("bye"));
  assert.equal(end.isOpen, false);
});

test("A peer that does not read what the node says is reset when too much waits", async (t) => {
  const [near, socket] = await endAndSocket(t);
  const piece = Buffer.alloc(1024 * 1024);
  let pieces = 0;
  for (; near.isOpen && pieces < 100; pieces += 1) near.writeBytes(piece);
  assert.ok(pieces < 40, `${pieces} MiB were kept`);
  const [error] = await once(socket.resume(), "error");
  assert.equal(error.code, "ECONNRESET");
  near.writeBytes(piece);
});

test("A loop that nobody holds on to goes on: libuv has the address of its memory", async () => {
  let watched = 0;
  {
    const own = new Loop();
    own.enqueue({
      queued: false,
      run: () => {
        watched += 1;
        return false;
      },
      fail: () => {},
    });
  }
  globalThis.gc?.();
  await eventually("the task's turn", () => watched === 1);
});

test("An end whose bytes are read after it has ended says so again and again", async (t) => {
  const [near, far] = await tlsPair(t);
  near.finish();
  near.fin();
  assert.equal((await readToEnd(far)).last, END);
  for (let again = 0; again < 3; again += 1) assert.equal(far.read(loop.scratchAt, 1), END);
});

test("What is written in the middle of the peer's message is kept until all of the message is there", async (t) => {
  const [near, socket] = await endAndSocket(t);
  const [inner, outer] = duplexPair();
  const names = { servername: `${"a".repeat(62)}.`.repeat(4).slice(0, -1), alpn: "p".repeat(255) };
  const sessionIdContext = "i".repeat(32);
  const secureContext = createSecureContext({ cert: pem, key: keyPem, minVersion: "TLSv1.3", sessionIdContext });
  const peer = new TLSSocket(inner as Socket, { isServer: true, secureContext, ALPNProtocols: [names.alpn] });
  // A ticket that is longer than a record: the names are in it.
  assert.ok(peer.setMaxSendFragment(512));
  socket.resume().on("data", (bytes) => outer.write(bytes));
  let held: Buffer | undefined;
  outer.on("data", (bytes: Buffer) => {
    if (!held) return socket.write(bytes);
    const first = held.length === 0 ? 5 + bytes.readUInt16BE(3) : 0;
    socket.write(bytes.subarray(0, first));
    held = Buffer.concat([held, bytes.subarray(first)]);
    return undefined;
  });
  const context = new Context({ role: "client", ...common, alpn: [names.alpn], ciphers: "TLS_AES_256_GCM_SHA384" });
  await shake(near, client(near, { context, serverName: names.servername }));
  held = Buffer.alloc(0);
  await until([near], () => near.peek(), TIME);
  assert.equal(near.read(loop.scratchAt, SCRATCH), NOTHING_NOW);
  near.writeBytes(Buffer.from("hello"));
  assert.deepEqual([near.flush(), near.isBroken], [false, false]);
  let said = "";
  const heard = new Promise<void>((resolve) => {
    peer.on("data", (bytes) => {
      said += bytes;
      if (said.length >= 12) resolve();
    });
  });
  socket.write(held);
  held = undefined;
  await writeAll(near, Buffer.from(", world"));
  await heard;
  assert.equal(said, "hello, world");
  peer.destroy();
});

test("What is copied from C's memory leaves nothing behind", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const { at } = permanent(32);
  const copy = () => {
    for (let round = 0; round < 20_000; round += 1) copyFrom(at, 32);
    collect();
    return process.memoryUsage().heapUsed;
  };
  copy();
  const before = copy();
  const grown = copy() - before;
  assert.ok(grown < 1_000_000, `${grown} bytes`);
});
