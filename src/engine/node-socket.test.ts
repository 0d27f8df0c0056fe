import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { type End, openEnds } from "./end.ts";
import { END } from "./layer.ts";
import { fromNodeSocket, toNodeSocket } from "./node-socket.ts";
import { endAndSocket, endPair, loop, readBytes, readToEnd, writeAll } from "./test-ends.ts";

/** A process that sends every connection back. */
const POST = `
  import { stopReading } from ${JSON.stringify(new URL("node-socket.ts", import.meta.url).href)};
  process.on("message", (message, socket) => {
    stopReading(socket);
    process.send(message, socket);
  });`;

test("A connection travels to another process and back, with all bytes in order and both half-closes", async (t) => {
  const child = spawn(process.execPath, ["--input-type=module", "-e", POST], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  t.after(() => child.kill());
  const [end, peer] = await endAndSocket(t);
  const before = openEnds();
  peer.write("before, ");
  const returned = new Promise<End>((resolve) => {
    child.once("message", (_, socket) => resolve(fromNodeSocket(loop, socket as Socket)));
  });
  child.send("connection", toNodeSocket(end));
  assert.equal(openEnds(), before - 1);
  peer.write("on the way");
  const back = await returned;
  t.after(() => back.close());
  peer.end(" and after");
  const { bytes, last } = await readToEnd(back);
  assert.deepEqual([bytes.toString(), last], ["before, on the way and after", END]);
  await writeAll(back, Buffer.from("answer"));
  back.fin();
  const [answer] = await once(peer.resume(), "data");
  assert.equal(String(answer), "answer");
  await once(peer, "end");
});

test("An end with bytes that were put back cannot travel", async (t) => {
  const [near] = await endPair(t);
  near.unread(Buffer.from("read already"));
  assert.throws(() => toNodeSocket(near), { name: "InvariantError" });
  assert.equal((await readBytes(near, 12)).bytes.toString(), "read already");
});

test("An end that is closed, and a socket that was closed on its way, are told", async (t) => {
  const [near, far] = await endPair(t);
  const socket = toNodeSocket(near);
  assert.throws(() => toNodeSocket(near), { name: "NetworkError", code: "ECONNRESET" });
  socket.destroy();
  assert.throws(() => fromNodeSocket(loop, socket), { name: "NetworkError", code: "ECONNRESET" });
  assert.equal((await readToEnd(far)).last, END);
});
