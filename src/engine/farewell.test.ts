import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fatalAlert } from "../wire/alert.ts";
import { openEnds } from "./end.ts";
import { farewell } from "./farewell.ts";
import { END, RESET } from "./layer.ts";
import { endAndSocket, endPair, readToEnd } from "./test-ends.ts";
import { until } from "./wait.ts";

const ALERT = fatalAlert(49);

test("The last bytes arrive and are followed by the end, though the peer still sends", async (t) => {
  const [near, far] = await endPair(t);
  // What nobody has read: a close right away would make the kernel reset the connection.
  far.writeBytes(Buffer.alloc(100_000));
  const gone = farewell(near, ALERT);
  far.writeBytes(Buffer.alloc(100_000));
  const { bytes, last } = await readToEnd(far);
  assert.deepEqual([bytes, last], [ALERT, END]);
  far.close();
  await gone;
  assert.equal(near.isOpen, false);
});

test("What was written before goes first", async (t) => {
  const [near, far] = await endPair(t);
  const before = Buffer.alloc(8 * 1024 * 1024, "clearline");
  near.writeBytes(before);
  const gone = farewell(near, ALERT);
  const { bytes, last } = await readToEnd(far);
  assert.ok(bytes.equals(Buffer.concat([before, ALERT])));
  assert.equal(last, END);
  far.close();
  await gone;
});

test("A peer that says nothing and stays is reset in the end", async (t) => {
  const [near, far] = await endPair(t);
  await farewell(near, ALERT);
  assert.equal(near.isOpen, false);
  await until([far], () => far.isReset || undefined, { timeout: 10_000, late: "No reset came" });
  const { last } = await readToEnd(far);
  assert.ok(last === RESET || last === END);
});

test("A peer that never reads is given up", async (t) => {
  const [near, peer] = await endAndSocket(t);
  near.writeBytes(Buffer.alloc(32 * 1024 * 1024));
  await farewell(near, ALERT);
  assert.equal(near.isOpen, false);
  peer.destroy();
});

test("A connection that is closed, or has its last bytes already, is left alone", async (t) => {
  const [near, peer] = await endAndSocket(t);
  const first = farewell(near, Buffer.from("first"));
  await farewell(near, Buffer.from("second"));
  assert.ok(near.isOpen && near.isLeaving);
  const [bytes] = await once(peer.resume(), "data");
  assert.equal(String(bytes), "first");
  peer.end();
  await first;
  const open = openEnds();
  await farewell(near, ALERT);
  assert.equal(openEnds(), open);
});
