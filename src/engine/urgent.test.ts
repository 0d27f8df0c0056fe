import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { End, Gate } from "./end.ts";
import { SCRATCH } from "./loop.ts";
import { libc } from "./native.ts";
import { relay, type Tap } from "./relay.ts";
import { endPair, loop, readBytes } from "./test-ends.ts";
import { until } from "./wait.ts";

const MSG_OOB = 1;
const TIME = { timeout: 30_000, late: "The urgent byte did not arrive" };
const tap: Tap = { data() {}, end() {}, reset() {}, pressure: () => undefined };
/** The way, the taps of the relay, and whether a gate looks at the bytes. */
const WAYS = [
  ["spliced", [], undefined],
  ["copied", [tap], undefined],
  ["looked at", [], (bytes: Buffer) => bytes.length],
] as const;

/** Two peers and a relay between them. */
async function relayed(t: TestContext, taps: readonly Tap[] = [], gate?: Gate) {
  const [peer, near] = await endPair(t);
  const [far, other] = await endPair(t);
  near.gate = gate;
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(near, far, { meter, taps, idle: 60_000, plenty: 0 });
  return { peer, near, other, over, meter };
}

function send(end: End, text: string, urgency = 0): void {
  loop.scratch.write(text);
  assert.equal(libc.send(end.fd, loop.scratchAt, text.length, urgency), text.length);
}

/** Reads as far as the mark, and tells what stands in front of it. */
async function readToMark(end: End): Promise<string> {
  let text = "";
  await until(
    [end],
    () => {
      while (!end.isAtUrgent()) {
        const came = end.read(loop.scratchAt, 64);
        if (came <= 0) return undefined;
        text += loop.scratch.subarray(0, came).toString();
      }
      return true;
    },
    TIME,
  );
  return text;
}

for (const [way, taps, gate] of WAYS) {
  test(`An urgent byte arrives as one, in its place (${way})`, async (t) => {
    const { peer, other, over, meter } = await relayed(t, taps, gate);
    // All of it is in the socket before the relay looks.
    send(peer, "before!", MSG_OOB);
    send(peer, "after");
    assert.equal(await readToMark(other), "before");
    assert.equal((await readBytes(other, 6)).bytes.toString(), "!after");
    // Another one, alone.
    send(peer, "?", MSG_OOB);
    assert.equal(await readToMark(other), "");
    assert.equal((await readBytes(other, 1)).bytes.toString(), "?");
    // And one that is the last byte.
    send(peer, "end.", MSG_OOB);
    peer.fin();
    assert.equal(await readToMark(other), "end");
    assert.equal((await readBytes(other, 2)).bytes.toString(), ".");
    other.fin();
    await over;
    assert.equal(meter.toServer, 17);
  });

  test(`An urgent byte of the server's arrives as one (${way})`, async (t) => {
    const { peer, other, over } = await relayed(t, taps, gate);
    send(other, "x!", MSG_OOB);
    assert.equal(await readToMark(peer), "x");
    assert.equal((await readBytes(peer, 1)).bytes.toString(), "!");
    peer.fin();
    other.fin();
    await over;
  });
}

test("An urgent byte that the socket does not take is sent as one later", async (t) => {
  const [near, far] = await endPair(t);
  let filled = 0;
  for (let quiet = 0; quiet < 20; quiet += 1) {
    const sent = near.send(loop.scratchAt, SCRATCH);
    filled += sent;
    if (sent > 0) quiet = 0;
    await new Promise(setImmediate);
  }
  near.writeUrgent(loop.scratchAt);
  assert.equal(near.flush(), false);
  const flushed = until([near], () => near.flush() || undefined, TIME);
  assert.equal((await readBytes(far, filled)).bytes.length, filled);
  await flushed;
  assert.equal(await readToMark(far), "");
});

test("Among bytes that are judged together an urgent byte is an ordinary one, as it was when they were judged", async (t) => {
  const shown: string[] = [];
  // It waits for a whole word.
  const { peer, other, over } = await relayed(t, [], (bytes) => {
    shown.push(bytes.toString());
    return bytes.includes(";") ? bytes.length : 0;
  });
  send(peer, "wo!", MSG_OOB);
  send(peer, "rd;");
  assert.equal((await readBytes(other, 6)).bytes.toString(), "wo!rd;");
  assert.equal(other.hasUrgent, false);
  assert.equal(shown.at(-1), "wo!rd;");
  peer.fin();
  other.fin();
  await over;
});

test("An urgent byte loses its mark where a gate says so", async (t) => {
  const { peer, near, other, over } = await relayed(t, [], (bytes) => bytes.length);
  near.isUnmarked = true;
  send(peer, "wo!", MSG_OOB);
  send(peer, "rd;");
  assert.equal((await readBytes(other, 6)).bytes.toString(), "wo!rd;");
  assert.equal(other.hasUrgent, false);
  peer.fin();
  other.fin();
  await over;
});

test("An urgent byte in front of all others loses its mark: it must not hide what follows from whoever judged it", async (t) => {
  for (const taps of [[], [tap]]) {
    const { peer, other, over } = await relayed(t, taps);
    send(peer, "!", MSG_OOB);
    send(peer, "hello");
    assert.equal((await readBytes(other, 6)).bytes.toString(), "!hello");
    assert.equal(other.hasUrgent, false);
    peer.fin();
    other.fin();
    await over;
  }
});
