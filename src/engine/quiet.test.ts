import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { until } from "../../test/processes.ts";
import { readHeard } from "./keepalive.ts";
import { libc } from "./native.ts";
import { Quiet } from "./quiet.ts";
import { endPair } from "./test-ends.ts";

const TCP = 6;
const TCP_KEEPIDLE = 4;
/** s */
const [SOON, LATE] = [Buffer.from([2, 0, 0, 0]), Buffer.from([0, 28, 0, 0])];

/** Two connections that are as quiet as ends are whose last byte passed two seconds ago. */
async function quietEnds(t: TestContext) {
  const [peer, near] = await endPair(t);
  const [far, other] = await endPair(t);
  await until("two seconds of silence", () => (readHeard(near.fd)?.spoke ?? 0) > 2_100);
  return { peer, near, far, other };
}

test("A keepalive of one peer is sent to the other, whose answer counts; the answer is not taken for a keepalive", async (t) => {
  const { peer, near, far, other } = await quietEnds(t);
  const quiet = new Quiet(near, far, 16_000);
  const since = performance.now() - 60_000;
  assert.equal(quiet.look(performance.now(), since), false);
  const [fromClient, toServer] = [readHeard(near.fd)!.segments, readHeard(other.fd)!.segments];
  libc.setsockopt(peer.fd, TCP, TCP_KEEPIDLE, SOON, SOON.length);
  await until("the client's keepalive", () => readHeard(near.fd)!.segments > fromClient);
  libc.setsockopt(peer.fd, TCP, TCP_KEEPIDLE, LATE, LATE.length);
  await until("the server's answer", () => quiet.look(performance.now(), since));
  assert.ok(readHeard(other.fd)!.segments > toServer);
  // Two looks later nothing goes back and forth by itself.
  const [client, server] = [readHeard(near.fd)!.segments, readHeard(far.fd)!.segments];
  const end = performance.now() + 4_500;
  await until("two more looks", () => {
    assert.equal(quiet.look(performance.now(), since), false);
    return performance.now() > end;
  });
  assert.deepEqual([readHeard(near.fd)!.segments, readHeard(far.fd)!.segments], [client, server]);
});

test("Connections have keepalives on, dialled and accepted alike", async (t) => {
  for (const end of await endPair(t)) {
    const [value, length] = [Buffer.alloc(4), Buffer.from([4, 0, 0, 0])];
    assert.equal(libc.getsockopt(end.fd, 1, 9, value, length), 0);
    assert.equal(value.readInt32LE(), 1);
  }
});
