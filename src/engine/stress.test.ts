import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { test } from "node:test";
import { openFileLimit } from "../linux/limits.ts";
import { make } from "../pki/x509/test-chain.ts";
import { VERSIONS } from "../vocabulary.ts";
import { checkEngine } from "./check.ts";
import { Context } from "./contexts.ts";
import { type End, openEnds } from "./end.ts";
import { NOTHING_NOW } from "./layer.ts";
import { SCRATCH } from "./loop.ts";
import { liveConnections, OpensslLayer } from "./openssl-layer.ts";
import { type Meter, type RelayEnding, relay } from "./relay.ts";
import { endPair, loop, readBytes, shake, writeAll, writer } from "./test-ends.ts";

/** Many sessions at once, as a worker has them: TLS on both sides, and a relay in between. */

checkEngine();

const MIB = 1024 * 1024;
const { pem, keyPem } = await make({ subject: "CN=stress.test", names: [["dns", "stress.test"]] });
const common = {
  ...{ minVersion: VERSIONS["TLSv1.2"], maxVersion: VERSIONS["TLSv1.3"], tickets: true, sessions: true, keyLog: false },
  ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
};
const context = {
  client: new Context({ role: "client", ...common, alpn: [] }),
  server: new Context({
    ...{ role: "server", ...common, identities: [{ certificatePem: pem, keyPem }], sessionTimeout: 300 },
  }),
};

/** The four ends of one session. The two in the middle are relayed, and may be of other versions. */
interface Relayed {
  readonly client: End;
  readonly server: End;
  readonly ends: readonly End[];
  readonly meter: Meter;
  readonly over: Promise<RelayEnding>;
}

const nobody = { after: () => {} };

async function layered(): Promise<[near: End, far: End]> {
  const [near, far] = await endPair(nobody);
  const put = (end: End, role: "client" | "server") =>
    shake(end, new OpensslLayer({ end, writer, context: context[role] }));
  await Promise.all([put(near, "client"), put(far, "server")]);
  return [near, far];
}

async function relayed(): Promise<Relayed> {
  const [[client, near], [far, server]] = await Promise.all([layered(), layered()]);
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(near, far, { meter, taps: [], idle: 600_000 });
  return { client, server, ends: [client, near, far, server], meter, over };
}

/** Calls `one` so many times, some of them at the same time. */
async function crowd(times: number, atOnce: number, one: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async () => {
    while (next < times) {
      next += 1;
      await one(next - 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, run));
}

/** Writes as much as the connection takes, for ever. */
function flood(end: End): void {
  end.task = {
    queued: false,
    run() {
      if (!end.flush() || end.isBroken) return false;
      end.write(loop.scratchAt, SCRATCH);
      return true;
    },
    fail() {},
  };
  loop.enqueue(end.task);
}

/** Reads and forgets what comes, until the connection ends. */
function drain(end: End): void {
  end.task = {
    queued: false,
    run() {
      const came = end.read(loop.scratchAt, SCRATCH);
      if (came < 0) end.close();
      return came > 0;
    },
    fail() {},
  };
  loop.enqueue(end.task);
}

test("A thousand random kills of either side leave nothing behind, and other sessions go on", async () => {
  const before = [openEnds(), liveConnections()];
  const bystander = await relayed();
  await crowd(1_000, 40, async () => {
    const { client, server, ends, over } = await relayed();
    const [from, to] = randomInt(2) === 0 ? [client, server] : [server, client];
    flood(from);
    // A peer that reads and a peer that does not.
    if (randomInt(3) > 0) drain(to);
    for (let turns = randomInt(6); turns > 0; turns -= 1) await new Promise(setImmediate);
    const victim = ends[randomInt(ends.length)]!;
    const how = randomInt(3);
    if (how === 0) victim.reset();
    else if (how === 1) victim.close();
    else victim.fin();
    // A FIN alone does not end a session whose other side goes on.
    if (how === 2) await Promise.race([over, new Promise(setImmediate)]);
    for (const end of [client, server]) end.reset();
    const { reason } = await over;
    assert.match(reason, /reset the connection|broke|closed|close_notify/);
  });
  const bytes = randomBytes(MIB);
  const [{ bytes: there }] = await Promise.all([
    readBytes(bystander.server, bytes.length),
    writeAll(bystander.client, bytes),
  ]);
  assert.ok(there.equals(bytes));
  for (const end of bystander.ends) end.close();
  await bystander.over;
  assert.deepEqual([openEnds(), liveConnections()], before);
  assert.equal(writer.lent, 0);
});

test("A hundred clients that do not read cost no more than what the kernel and one pair each hold", async () => {
  const sessions: Relayed[] = [];
  await crowd(100, 20, async () => void sessions.push(await relayed()));
  const before = process.memoryUsage();
  for (const { server } of sessions) flood(server);
  // Until no session has moved for some turns of the loop: the kernel's buffers are full.
  let [last, quiet] = [-1, 0];
  while (quiet < 50) {
    await new Promise(setImmediate);
    const moved = sessions.reduce((sum, { meter }) => sum + meter.fromServer, 0);
    quiet = moved === last ? quiet + 1 : 0;
    last = moved;
  }
  const after = process.memoryUsage();
  // The flooding peers hold a pair each too: they are in this process.
  assert.ok(writer.lent <= 2 * sessions.length, `${writer.lent} pairs`);
  const [grown, most] = [after.rss - before.rss, sessions.length * 2 * 0.4 * MIB];
  assert.ok(grown < most, `${Math.round(grown / MIB)} MiB`);
  for (const { client, server } of sessions) for (const end of [client, server]) end.reset();
  await Promise.all(sessions.map(({ over }) => over));
  assert.equal(writer.lent, 0);
});

/** Sessions at once; each is eight descriptors here, because both peers are in this process. */
const MANY = Math.min(1_000, Math.floor((openFileLimit() - 500) / 4));

test(`${MANY} sessions at once: each one's bytes reach its own peer, both ways`, async () => {
  const before = [openEnds(), liveConnections()];
  const sessions: Relayed[] = [];
  await crowd(MANY, 50, async () => void sessions.push(await relayed()));
  const words = sessions.map((_, index) => Buffer.alloc(20_000, `${index} of ${MANY} `));
  const carry = async (from: End, to: End, bytes: Buffer) => {
    const [{ bytes: there }] = await Promise.all([readBytes(to, bytes.length), writeAll(from, bytes)]);
    assert.ok(there.equals(bytes));
  };
  await Promise.all(sessions.map(({ client, server }, index) => carry(client, server, words[index]!)));
  await Promise.all(
    sessions.map(({ client, server }, index) => carry(server, client, Buffer.from(words[index]!.toReversed()))),
  );
  for (const { client, server } of sessions) {
    assert.equal(client.read(loop.scratchAt, 1), NOTHING_NOW);
    client.close();
    server.close();
  }
  await Promise.all(sessions.map(({ over }) => over));
  assert.deepEqual([openEnds(), liveConnections()], before);
});
