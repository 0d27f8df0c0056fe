import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import type { Socket } from "node:net";
import { after, before, test } from "node:test";
import type { NetworkError } from "../errors.ts";
import { within } from "./netns.ts";
import { openQueue, type Queue } from "./nfqueue.ts";
import type { Packet } from "./nfqueue-messages.ts";
import { readSyn } from "./packet.ts";
import { connectFrom, feed, type Network, needsNamespaces, ROUTED, routedNetwork, run, serve } from "./test-network.ts";

const NAMESPACES = needsNamespaces();
const FAMILIES = [4, 6] as const;
/** What the verdict's mark turns into, as the plan of an inline node has it. */
const REFUSAL = `
table inet refusal {
  chain prerouting {
    type filter hook prerouting priority mangle; policy accept;
    meta l4proto tcp meta mark 1 reject with tcp reset
    meta l4proto tcp meta mark 2 reject with icmpx type host-unreachable
  }
}`;

let network: Network;
before(() => {
  if (NAMESPACES.skip !== false) return;
  network = routedNetwork();
  feed(network.node, REFUSAL, "nft", "-f", "-");
  for (const program of ["iptables-nft", "ip6tables-nft"]) {
    run(
      network.node,
      program,
      ...["-t", "raw", "-A", "PREROUTING", "-i", "na", "-p", "tcp", "--syn"],
      ...["-j", "NFQUEUE", "--queue-num", "7", "--queue-bypass"],
    );
  }
});
after(() => network?.[Symbol.dispose]());

/** A queue whose packets wait in an array until the test judges them. */
function hold(): { queue: Queue; held: Packet[]; next(): Promise<Packet> } & AsyncDisposable {
  const held: Packet[] = [];
  const onPacket = (packet: Packet) => held.push(packet);
  const queue = within(network.node, () => openQueue({ number: 7, onPacket, onError: assert.fail }));
  return {
    queue,
    held,
    next: async () => {
      while (held.length === 0) await turn();
      return held.shift()!;
    },
    [Symbol.asyncDispose]: () => queue.close(),
  };
}

function connect(family: 4 | 6, port: number): Promise<Socket> {
  const { client, server } = ROUTED[family];
  const ends = { from: { address: client, port: 0 }, to: { address: server, port }, timeout: 10_000 };
  return within(network.client, () => ({ connected: connectFrom(ends) })).connected;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function codeOf(connected: Promise<Socket>): Promise<string> {
  return connected.then(
    () => "connected",
    (error: NetworkError) => error.code,
  );
}

for (const family of FAMILIES) {
  test(`An IPv${family} SYN waits until its verdict, and its packet names both ends`, NAMESPACES, async () => {
    let accepted = 0;
    await using _server = await serve(network.server, { family, port: 7100 }, () => accepted++);
    await using holder = hold();
    const connected = connect(family, 7100);
    const packet = await holder.next();
    assert.equal(accepted, 0);
    holder.queue.verdict(packet.id, "accept");
    const socket = await connected;
    const syn = readSyn(packet.payload);
    assert.deepEqual(syn?.source, { address: ROUTED[family].client, port: socket.localPort });
    assert.deepEqual(syn?.destination, { address: ROUTED[family].server, port: 7100 });
    assert.deepEqual(holder.queue.counters(), { packets: 1, verdicts: 1, faults: 0 });
    socket.destroy();
  });

  test(
    `A verdict's mark reaches the rules behind: an IPv${family} SYN is answered with a reset`,
    NAMESPACES,
    async () => {
      await using holder = hold();
      const connected = codeOf(connect(family, 7101));
      holder.queue.verdict((await holder.next()).id, "accept", 1);
      assert.equal(await connected, "ECONNREFUSED");
    },
  );

  test(
    `A verdict's mark reaches the rules behind: an IPv${family} SYN is answered with unreachable`,
    NAMESPACES,
    async () => {
      await using holder = hold();
      const connected = codeOf(connect(family, 7102));
      holder.queue.verdict((await holder.next()).id, "accept", 2);
      assert.equal(await connected, "EHOSTUNREACH");
    },
  );

  test(`An IPv${family} SYN that is dropped comes again, with the same sequence number`, NAMESPACES, async () => {
    await using _server = await serve(network.server, { family, port: 7103 }, () => {});
    await using holder = hold();
    const connected = connect(family, 7103);
    const first = await holder.next();
    holder.queue.verdict(first.id, "drop");
    const second = await holder.next();
    assert.deepEqual(readSyn(second.payload), readSyn(first.payload));
    holder.queue.verdict(second.id, "accept");
    (await connected).destroy();
  });
}

test("Without a queue the kernel lets SYNs pass", NAMESPACES, async () => {
  await using _server = await serve(network.server, { family: 4, port: 7104 }, () => {});
  (await connect(4, 7104)).destroy();
});

test("A verdict on a packet that is not held is counted as a fault", NAMESPACES, async () => {
  await using holder = hold();
  holder.queue.verdict(123_456, "accept");
  while (holder.queue.counters().faults === 0) await turn();
  assert.deepEqual(holder.queue.counters(), { packets: 0, verdicts: 1, faults: 1 });
});

test("200 SYNs at once are each held once, and all are released", NAMESPACES, async () => {
  await using _server = await serve(network.server, { family: 4, port: 7105 }, () => {});
  await using holder = hold();
  const connected = Array.from({ length: 200 }, () => connect(4, 7105));
  const ports = new Set<number>();
  while (ports.size < 200) {
    const packet = await holder.next();
    ports.add(readSyn(packet.payload)!.source.port);
    holder.queue.verdict(packet.id, "accept");
  }
  for (const socket of await Promise.all(connected)) socket.destroy();
});

test("A queue that another socket has is EBUSY, and no descriptor stays open", NAMESPACES, async () => {
  await using _holder = hold();
  const before = descriptors();
  const attempt = () => within(network.node, () => openQueue({ number: 7, onPacket: () => {}, onError: assert.fail }));
  assert.throws(attempt, (error: NetworkError) => error.code === "EBUSY");
  assert.equal(descriptors(), before);
});

test("A closed queue leaves nothing open, judges nothing, and can be opened again", NAMESPACES, async () => {
  const before = descriptors();
  for (let round = 0; round < 3; round++) {
    const { queue } = hold();
    await queue.close();
    queue.verdict(1, "accept");
    assert.equal(queue.counters().verdicts, 0);
  }
  assert.equal(descriptors(), before);
});

test("A process that exits does not wait for packets", NAMESPACES, () => {
  const script = `
    import { openQueue } from ${JSON.stringify(new URL("nfqueue.ts", import.meta.url).href)};
    openQueue({ number: 8, onPacket: () => {}, onError: console.error });
    // The queue is waited for from the next turn on.
    setImmediate(() => setImmediate(() => process.exit(7)));`;
  const args = ["netns", "exec", network.node, process.execPath, "--input-type=module", "-e", script];
  const { status, signal } = spawnSync("ip", args, { timeout: 20_000, stdio: "inherit" });
  assert.deepEqual({ status, signal }, { status: 7, signal: null });
});

function descriptors(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /^(?:socket:|net:|anon_inode:\[eventfd\])/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}
