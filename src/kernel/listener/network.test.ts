import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { start, until } from "../../../test/processes.ts";
import type { NetworkError } from "../../errors.ts";
import { within } from "../../linux/netns.ts";
import { openQueue, type Queue } from "../../linux/nfqueue.ts";
import type { Packet } from "../../linux/nfqueue-messages.ts";
import { loadRules, probeFeatures, readCounters } from "../../linux/nftables.ts";
import { readSyn } from "../../linux/packet.ts";
import {
  BRIDGED,
  bridgedNetwork,
  connectFrom,
  type Ends,
  feed,
  type Network,
  needsNamespaces,
  PYTHON,
  ROUTED,
  routedNetwork,
  run,
  serve,
} from "../../linux/test-network.ts";
import type { NetworkRow } from "../../policy/network-rows.ts";
import { applyPlan, undoPlan } from "../apply.ts";
import { carryCounts } from "./counters.ts";
import type { InlineListener, Plan, PlanInput } from "./lane.ts";
import { planInline } from "./plan.ts";

const NAMESPACES = needsNamespaces();
const FAMILIES = [4, 6] as const;
const WORKERS = 2;
const BASE_PORT = 15_001;
/** Ports that the policy of these tests decides at the network phase. */
const ROWS: readonly NetworkRow[] = [
  { name: "drop", action: "drop", ports: [[6001, 6001]] },
  { name: "inside", action: "decrypt", ports: [[6002, 6002]], client: ["10.0.0.0/8", "fd00::/16"] },
  { name: "list", action: "bypass", ports: [[6000, 6099]], server: ["10.0.0.1-10.255.0.0", "fd00::/8", "10.0.0.0/8"] },
  // The ports that the workers listen at: a connection to such a port of a server is a server's.
  { name: "same ports", action: "bypass", ports: [[BASE_PORT - 1, BASE_PORT]] },
];

/** An operator's firewall: whatever connection tracking makes no sense of is dropped. */
const STRICT = `table inet operator {
  chain in {
    type filter hook input priority filter; policy accept;
    ct state invalid counter drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state invalid counter drop
  }
  chain out {
    type filter hook output priority filter; policy accept;
    ct state invalid counter drop
  }
}
`;

for (const topology of ["routed", "bridge"] as const) {
  describe(`An inline node as ${topology}`, NAMESPACES, () => {
    const ends = topology === "routed" ? ROUTED : BRIDGED;
    const folder = mkdtempSync(join(tmpdir(), "clearline-inline-"));
    const journal = join(folder, "inline.json");
    let network: Network;
    let input: PlanInput;
    let plan: Plan;

    before(() => {
      network = topology === "routed" ? routedNetwork() : bridgedNetwork();
      feed(network.node, STRICT, "nft", "-f", "-");
      input = within(network.node, () => planFor(topology, {}));
      plan = planInline(input);
      within(network.node, () => applyPlan(plan, journal));
    });
    after(() => {
      network?.[Symbol.dispose]();
      rmSync(folder, { recursive: true });
    });

    function change(listener: Partial<InlineListener>): void {
      const [first] = input.listeners;
      within(network.node, () => loadRules(planInline({ ...input, listeners: [{ ...first!, ...listener }] }).nft));
    }

    function connect(family: 4 | 6, port: number, timeout = 10_000): Promise<Socket> {
      const { client, server } = ends[family];
      const options = { from: { address: client, port: 0 }, to: { address: server, port }, timeout };
      return within(network.client, () => ({ connected: connectFrom(options) })).connected;
    }

    for (const family of FAMILIES) {
      test(`An IPv${family} client's SYN waits for the server, and then meets the worker that connected`, async () => {
        const atServer: Socket[] = [];
        await using _server = await serve(network.server, { family, port: 7000 }, (socket) => atServer.push(socket));
        await using node = await stand(network, plan, family);
        const connected = connect(family, 7000);
        const { worker, packet } = await node.held();
        const syn = readSyn(packet.payload)!;
        assert.deepEqual(syn.destination, { address: ends[family].server, port: 7000 });
        assert.equal(atServer.length, 0);
        const options = { from: syn.source, to: syn.destination, timeout: 5000, mark: legMark(plan) };
        const leg = await within(network.node, () => ({ connected: connectFrom(options) })).connected;
        assert.equal(node.accepted.length, 0);
        node.release(worker, packet, plan.marks.workers[worker]!);
        const client = await connected;
        await until("both ends", () => node.accepted.length === 1 && atServer.length === 1);
        const [{ port, socket: na } = fail()] = node.accepted;
        assert.equal(port, BASE_PORT + worker);
        assert.deepEqual([na.localAddress, na.localPort], [ends[family].server, 7000]);
        assert.deepEqual([na.remoteAddress, na.remotePort], [ends[family].client, client.localPort]);
        assert.deepEqual(
          [atServer[0]?.remoteAddress, atServer[0]?.remotePort],
          [ends[family].client, client.localPort],
        );
        na.pipe(leg).pipe(na);
        const [server] = atServer;
        client.end("to the server");
        assert.equal(await textOf(server!), "to the server");
        server?.end("to the client");
        assert.equal(await textOf(client), "to the client");
      });

      if (topology === "bridge") {
        test(`IPv${family}: a bridge soon forgets a connection that its peer has not answered, or that we have reset`, async () => {
          /** Of the connection between these ports, in all sets with this beginning. */
          const secondsLeft = (set: string, from: number, to: number) =>
            expiries(network, `${set}-0-${family}`).find(({ ports }) => ports[0] === from && ports[1] === to)?.expires;
          await using _server = await serve(network.server, { family, port: 7000 }, () => {});
          await using node = await stand(network, plan, family);
          const legTo = (from: Ends, port: number, timeout: number) => {
            const options = { from: { address: from.client, port: 0 }, to: { address: from.server, port }, timeout };
            return within(network.node, () => ({ connected: connectFrom({ ...options, mark: legMark(plan) }) }))
              .connected;
          };
          const connected = connect(family, 7000);
          const { worker, packet } = await node.held();
          const leg = await legTo(ends[family], 7000, 5000);
          node.release(worker, packet, plan.marks.workers[worker]!);
          const { localPort } = await connected;
          await until("the client", () => node.accepted.length === 1);
          const open = [secondsLeft("clients", localPort!, 7000), secondsLeft("servers", 7000, leg.localPort!)];
          assert.ok(
            open.every((seconds) => seconds! > 80_000),
            `${open}`,
          );
          const legPort = leg.localPort!;
          node.accepted[0]?.socket.resetAndDestroy();
          leg.resetAndDestroy();
          await until("both in the other sets", () => secondsLeft("closing-servers", 7000, legPort) !== undefined);
          assert.equal(secondsLeft("servers", 7000, legPort), undefined);
          assert.equal(secondsLeft("clients", localPort!, 7000), undefined);
          const silent = "add table inet silent\nadd chain inet silent in { type filter hook input priority 0; }";
          feed(network.server, `${silent}\nadd rule inet silent in tcp dport 7030 drop`, "nft", "-f", "-");
          assert.equal(await codeOf(legTo(ends[family], 7030, 300)), "ETIMEDOUT");
          const unanswered = expiries(network, `servers-0-${family}`).find(({ ports }) => ports[0] === 7030)?.expires;
          assert.ok(unanswered! <= 300, `${unanswered}`);
          run(network.server, "nft", "delete", "table", "inet", "silent");
        });
      }

      test(`IPv${family}: a SYN that is sent again meets the same worker`, async () => {
        await using node = await stand(network, plan, family);
        const connected = connect(family, 7001);
        const first = await node.held();
        node.queues[first.worker]?.verdict(first.packet.id, "drop");
        const second = await node.held();
        assert.equal(second.worker, first.worker);
        assert.deepEqual(readSyn(second.packet.payload), readSyn(first.packet.payload));
        node.release(second.worker, second.packet, plan.marks.refused);
        await assert.rejects(connected);
      });

      test(`IPv${family}: what a worker says of the server is what the client hears`, async () => {
        await using node = await stand(network, plan, family);
        const { refused, hostUnreachable, netUnreachable } = plan.marks;
        for (const [mark, code] of [
          [refused, "ECONNREFUSED"],
          [hostUnreachable, "EHOSTUNREACH"],
          [netUnreachable, "ENETUNREACH"],
        ] as const) {
          const heard = codeOf(connect(family, 7002));
          const { worker, packet } = await node.held();
          node.release(worker, packet, mark);
          assert.equal(await heard, code);
        }
      });

      test(`IPv${family}: a router's word about the server reaches the node, not the client`, async () => {
        const deaf = "add table inet deaf\nadd chain inet deaf in { type filter hook input priority 0; }";
        feed(
          network.server,
          `${deaf}\nadd rule inet deaf in tcp dport 7020 reject with icmpx type host-unreachable`,
          "nft",
          "-f",
          "-",
        );
        await using node = await stand(network, plan, family);
        const heard = codeOf(connect(family, 7020));
        const { worker, packet } = await node.held();
        const { source, destination } = readSyn(packet.payload)!;
        // Another port than the client's: a router's word about it means nothing to the client.
        const options = {
          from: { address: source.address, port: 0 },
          to: destination,
          timeout: 5000,
          mark: legMark(plan),
        };
        const leg = within(network.node, () => ({ connected: connectFrom(options) })).connected;
        assert.equal(await codeOf(leg), "EHOSTUNREACH");
        node.release(worker, packet, plan.marks.refused);
        assert.equal(await heard, "ECONNREFUSED");
        run(network.server, "nft", "delete", "table", "inet", "deaf");
      });

      test(`IPv${family}: signed TCP and BGP are the kernel's, and an answer to it that is not signed is dropped`, async () => {
        await using node = await stand(network, plan, family);
        const address = ends[family].server;
        for (const [port, key] of [
          [7179, "secret"],
          [179, ""],
        ] as const) {
          await using server = signedServer(network.server, ends[family], port, key);
          await server.ready;
          assert.equal(
            run(network.client, "/usr/bin/python3", "-c", SIGNED_CLIENT, address, `${port}`, key, "20"),
            "answer\n",
          );
        }
        // A server that ignores signatures.
        const strip = "add table inet strip\nadd chain inet strip in { type filter hook prerouting priority -300; }";
        feed(network.server, `${strip}\nadd rule inet strip in reset tcp option 19`, "nft", "-f", "-");
        await using server = signedServer(network.server, ends[family], 7180, "");
        await server.ready;
        assert.equal(
          run(network.client, "/usr/bin/python3", "-c", SIGNED_CLIENT, address, "7180", "secret", "1"),
          "silence\n",
        );
        // It tells a client that sends it what is out of its window the number that the client did not get.
        assert.equal(
          run(network.client, "/usr/bin/python3", "-c", PROBING_CLIENT, ends[family].client, address, "7180"),
          "silence\n",
        );
        run(network.server, "nft", "delete", "table", "inet", "strip");
        assert.ok(counter(network, plan, "signed") >= 3);
        assert.ok(counter(network, plan, "unsigned") > 0);
        assert.equal(node.waiting(), 0);
        assert.equal(node.accepted.length, 0);
      });

      test(`IPv${family}: both workers get connections`, async () => {
        await using node = await stand(network, plan, family);
        const connected = Array.from({ length: 40 }, () => codeOf(connect(family, 7003)));
        const workers = new Set<number>();
        for (const _ of connected) {
          const { worker, packet } = await node.held();
          workers.add(worker);
          node.release(worker, packet, plan.marks.refused);
        }
        await Promise.all(connected);
        assert.deepEqual([...workers].sort(), [0, 1]);
      });

      test(`IPv${family}: a bypassed connection is the kernel's alone, and counted`, async () => {
        const atServer: Socket[] = [];
        await using _server = await serve(network.server, { family, port: 6000 }, (socket) => atServer.push(socket));
        await using node = await stand(network, plan, family);
        const before = counter(network, plan, "row", 2);
        const client = await connect(family, 6000);
        await until("a connection at the server", () => atServer.length === 1);
        assert.equal(atServer[0]?.remotePort, client.localPort);
        client.end("untouched");
        assert.equal(await textOf(atServer[0]!), "untouched");
        assert.equal(counter(network, plan, "row", 2), before + 1);
        assert.equal(node.accepted.length + node.waiting(), 0);
      });

      test(`IPv${family}: a bypassed connection to a port that the workers listen at goes to the server`, async () => {
        const atServer: Socket[] = [];
        await using _server = await serve(network.server, { family, port: BASE_PORT }, (socket) =>
          atServer.push(socket),
        );
        await using node = await stand(network, plan, family);
        const client = await connect(family, BASE_PORT);
        client.end("the server's");
        await until("a connection at the server", () => atServer.length === 1);
        assert.equal(await textOf(atServer[0]!), "the server's");
        assert.equal(node.accepted.length, 0);
      });

      test(`IPv${family}: what was counted is not lost with new rules`, async () => {
        const [bypass, rest] = [ROWS[2]!, ROWS.filter((_, index) => index !== 2)];
        const before = counter(network, plan, "row", 2);
        assert.ok(before > 0);
        const read = within(network.node, () => ({
          counts: Promise.all([readCounters("inet", "clearline"), readCounters("bridge", "clearline")]),
        }));
        const [inet, bridge] = await read.counts;
        const moved = planInline({ ...input, rows: [...rest, bypass] });
        within(network.node, () => loadRules(carryCounts(plan, moved, { inet, bridge })));
        assert.equal(counter(network, moved, "row", 3), before);
        change({});
      });

      test(`IPv${family}: the order of the rows decides`, async () => {
        await using node = await stand(network, plan, family);
        const before = [counter(network, plan, "row", 0), counter(network, plan, "row", 1)];
        assert.equal(await codeOf(connect(family, 6001)), "ECONNREFUSED");
        assert.equal(node.waiting(), 0);
        const heard = codeOf(connect(family, 6002));
        const { worker, packet } = await node.held();
        node.release(worker, packet, plan.marks.refused);
        assert.equal(await heard, "ECONNREFUSED");
        assert.deepEqual(
          [counter(network, plan, "row", 0), counter(network, plan, "row", 1)],
          [before[0]! + 1, before[1]! + 1],
        );
      });

      test(`IPv${family}: without synHold the workers share what comes`, async () => {
        await using node = await stand(network, plan, family);
        change({ synHold: false });
        const client = await connect(family, 7004);
        change({});
        await until("a connection at the node", () => node.accepted.length === 1);
        assert.equal(node.accepted[0]?.port, BASE_PORT - 1);
        assert.equal(node.accepted[0]?.socket.remotePort, client.localPort);
        assert.equal(node.waiting(), 0);
        client.destroy();
      });

      test(`IPv${family}: a SYN that nobody holds is shared by those that listen`, async () => {
        await using node = await stand(network, plan, family);
        await Promise.all(node.queues.map((queue) => queue.close()));
        (await connect(family, 7005)).destroy();
        await until("a connection at the node", () => node.accepted.length === 1);
        assert.equal(node.accepted[0]?.port, BASE_PORT - 1);
      });

      test(`IPv${family}: when nobody listens the kernel forwards, or with failure closed drops`, async () => {
        const atServer: Socket[] = [];
        await using _server = await serve(network.server, { family, port: 7006 }, (socket) => atServer.push(socket));
        const client = await connect(family, 7006);
        await until("a connection at the server", () => atServer.length === 1);
        assert.equal(atServer[0]?.remotePort, client.localPort);
        change({ failure: "closed" });
        const heard = await codeOf(connect(family, 7006, 300));
        assert.equal(heard, "ETIMEDOUT");
        assert.ok(counter(network, plan, "unserved") > 0);
        // A connection that lived before goes on.
        client.end("still here");
        assert.equal(await textOf(atServer[0]!), "still here");
        assert.equal(atServer.length, 1);
        change({});
      });

      test(`IPv${family}: only the listed ports are taken`, async () => {
        const atServer: Socket[] = [];
        await using _server = await serve(network.server, { family, port: 7007 }, (socket) => atServer.push(socket));
        await using node = await stand(network, plan, family);
        change({ ports: [443, [7008, 7010]], synHold: false });
        const passed = await connect(family, 7007);
        const taken = await connect(family, 7009);
        change({});
        await until("both connections", () => atServer.length === 1 && node.accepted.length === 1);
        assert.equal(atServer[0]?.remotePort, passed.localPort);
        assert.equal(node.accepted[0]?.socket.localPort, 7009);
        for (const socket of [passed, taken]) socket.destroy();
      });

      test(`IPv${family}: the node's own services are its own, and nobody gets to a worker's port`, async () => {
        const own: Socket[] = [];
        await using _service = await serve(network.node, { family, port: 7011 }, (socket) => own.push(socket));
        await using node = await stand(network, plan, family);
        const address =
          topology === "routed"
            ? { 4: "10.1.0.1", 6: "fd00:1::1" }[family]
            : { 4: "10.3.0.254", 6: "fd00:3::fe" }[family];
        const to = (port: number) => {
          const options = { from: { address: ends[family].client, port: 0 }, to: { address, port }, timeout: 5000 };
          return within(network.client, () => ({ connected: connectFrom(options) })).connected;
        };
        (await to(7011)).destroy();
        await until("a connection at the service", () => own.length === 1);
        for (const port of [BASE_PORT - 1, BASE_PORT, BASE_PORT + 1])
          assert.equal(await codeOf(to(port)), "ECONNREFUSED");
        assert.equal(node.accepted.length + node.waiting(), 0);
      });
    }

    test("UDP passes, and QUIC is refused at once when it is blocked", () => {
      assert.equal(udp(network, ends[4], 443), "answer");
      assert.equal(udp(network, ends[6], 443), "answer");
      change({ blockQuic: true });
      assert.equal(udp(network, ends[4], 443), "ConnectionRefusedError");
      assert.equal(udp(network, ends[6], 443), "ConnectionRefusedError");
      assert.equal(udp(network, ends[4], 444), "answer");
      assert.ok(
        counter(network, planInline({ ...input, listeners: [{ ...input.listeners[0]!, blockQuic: true }] }), "quic") >=
          2,
      );
      change({});
    });

    for (const family of FAMILIES) {
      test(`IPv${family}: new rows that bypass a session that lives do not end it`, async () => {
        await using _server = await serve(network.server, { family, port: 7030 }, (socket) => socket.pipe(socket));
        await using node = await stand(network, plan, family);
        const connected = connect(family, 7030);
        const { worker, packet } = await node.held();
        const { source, destination } = readSyn(packet.payload)!;
        const options = { from: { ...source, port: 0 }, to: destination, timeout: 5000, mark: legMark(plan) };
        const leg = await within(network.node, () => ({ connected: connectFrom(options) })).connected;
        node.release(worker, packet, plan.marks.workers[worker]!);
        const client = await connected;
        await until("a connection at the node", () => node.accepted.length === 1);
        const na = node.accepted[0]!.socket;
        na.pipe(leg).pipe(na);
        const live = [source, { ...source, port: leg.localPort! }].map((from) => ({
          client: from,
          server: destination,
        }));
        within(network.node, () =>
          loadRules(planInline({ ...input, rows: [{ name: "now", action: "bypass" }], live }).nft),
        );
        client.end("through the node and back");
        assert.equal(await textOf(client), "through the node and back");
        change({});
      });
    }

    if (topology === "bridge") {
      test("Frames that are not plain TCP over IP cross the bridge bit for bit, in both directions", async () => {
        const frames = foreignFrames();
        assert.deepEqual(await carried(network.client, "ca", network.server, "sb", frames), frames);
        assert.deepEqual(await carried(network.server, "sb", network.client, "ca", frames), frames);
      });
    }

    test("Nothing is left when the plan is undone", () => {
      assert.deepEqual(
        within(network.node, () => [...undoPlan(journal)]),
        [],
      );
      for (const dump of [
        ["nft", "list", "ruleset"],
        ["ip", "rule"],
        ["ip", "route", "show", "table", "all"],
      ] as const) {
        const [program, ...args] = dump;
        assert.doesNotMatch(run(network.node, program, ...args), /clearline|clbr|7700/i);
      }
    });
  });
}

test(
  "The kernel accepts one ruleset with a router, a bridge, 10,000 addresses and overlapping ports",
  NAMESPACES,
  () => {
    using network = routedNetwork();
    within(network.node, () => {
      const [routed, bridge] = [
        planFor("routed", {}),
        planFor("bridge", { name: "second", networkA: "x.1", networkB: "y@2" }),
      ];
      const many = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/25`);
      const rows: NetworkRow[] = [
        {
          name: 'a "list"\n}',
          action: "bypass",
          client: [...many, "::/0", "0.0.0.0/0"],
          server: ["::ffff:10.0.0.0/104", "10.0.0.1"],
        },
        { name: "everything", action: "decrypt" },
        {
          name: "ports",
          action: "drop",
          ports: [
            [1, 100],
            [50, 200],
            [201, 300],
          ],
          sourcePorts: [[0, 65_535]],
          listeners: ["second"],
        },
      ];
      const listeners = [...routed.listeners, ...bridge.listeners];
      const plan = planInline({ ...routed, listeners, rows, bridgeMacs: { second: "02:00:00:00:00:02" } });
      loadRules(plan.nft);
      loadRules(plan.nft);
      const [empty, full] = [run(network.node, "nft", "-s", "list", "ruleset"), /elements = \{ 10\.0\.0\.0\/25/];
      assert.match(planInline({ ...routed, rows }).nft, full);
      assert.match(empty, /goto lift-1/);
    });
  },
);

test(
  "The rules use nft's queue where the kernel has it, and differ in nothing else where it does not",
  NAMESPACES,
  () => {
    using network = routedNetwork();
    within(network.node, () => {
      const input = planFor("routed", {});
      const { nft } = planInline({ ...input, features: { ...input.features, nftQueue: true } });
      if (input.features.nftQueue) return loadRules(nft);
      return assert.throws(
        () => loadRules(nft),
        (error: Error) => /Could not process rule/.test(error.message) && !/syntax error/.test(error.message),
      );
    });
  },
);

const SIGN = `
import socket, struct, sys
def sign(s, address, key):
    if not key: return
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    name = struct.pack("=H6x16s104x" if ":" in address else "=H2x4s120x", family, packed)
    s.setsockopt(socket.IPPROTO_TCP, 14, struct.pack("=128s2xHI80s", name, len(key), 0, key.encode()))
`;
/** Arguments: the server's address and port, the key (without one it does not sign), and for how many seconds it waits. */
const SIGNED_CLIENT = `${SIGN}
address, port, key, patience = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
sign(s, address, key)
s.settimeout(int(patience))
try:
    s.connect((address, int(port)))
    print(s.recv(64).decode())
except TimeoutError:
    print("silence")
`;
/**
 * Arguments: its address, the server's and its port. It signs its SYN, and then sends a FIN out of the server's window, unsigned. Prints
 * what comes from the server.
 */
const PROBING_CLIENT = `${SIGN}
import time
client, address, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
s = socket.socket(family)
sign(s, address, "secret")
s.setblocking(False)
s.bind((client, 0))
own = s.getsockname()[1]
s.connect_ex((address, int(port)))

def summed(data):
    words = struct.unpack(f"!{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

def fin(checksum):
    return struct.pack("!HHIIBBHHH", own, int(port), 1, 0, 5 << 4, 1, 1000, checksum, 0)

ends = socket.inet_pton(family, client) + socket.inet_pton(family, address)
packet = fin(summed(ends + struct.pack("!II", 20, socket.IPPROTO_TCP) + fin(0)))
deadline = time.monotonic() + 3
answer = "silence"
while time.monotonic() < deadline and answer == "silence":
    raw.sendto(packet, (address, 0))
    raw.settimeout(0.2)
    try:
        data = raw.recv(4096)
    except TimeoutError:
        continue
    segment = data if family == socket.AF_INET6 else data[(data[0] & 15) * 4:]
    if struct.unpack("!HH", segment[:4]) == (int(port), own): answer = f"flags {segment[13]:#x}"
print(answer)
`;
const SIGNED_SERVER = `${SIGN}
address, client, port, key = sys.argv[1:]
s = socket.create_server((address, int(port)), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
sign(s, client, key)
print("ready", flush=True)
while True: s.accept()[0].sendall(b"answer")
`;

function signedServer(namespace: string, { client, server }: Ends, port: number, key: string) {
  const program = ["/usr/bin/python3", "-c", SIGNED_SERVER, server, client, `${port}`, key];
  const { shows, stop } = start("ip", ["netns", "exec", namespace, ...program]);
  return { ready: shows(/ready/), [Symbol.asyncDispose]: async () => void (await stop()) };
}

function planFor(topology: "routed" | "bridge", listener: Partial<InlineListener>): PlanInput {
  const edge: InlineListener = {
    name: "edge",
    path: "listeners[0]",
    topology,
    networkA: "na",
    networkB: "nb",
    addresses: topology === "bridge" ? ["10.3.0.254/24", "fd00:3::fe/64"] : [],
    gateways: [],
    routes: [],
    failure: "open",
    ports: "all",
    synHold: true,
    blockQuic: false,
    direction: "aToB",
    midStream: "pass",
    bgp: "pass",
    ...listener,
  };
  return {
    listeners: [edge],
    workers: WORKERS,
    apiPort: 8484,
    basePort: BASE_PORT,
    baseQueue: 30,
    markShift: 16,
    routingTable: 7700,
    rulePriority: 100,
    features: { ...probeFeatures(), tagMemory: true },
    bridgeMacs: { edge: "02:00:00:00:00:01" },
    rows: ROWS,
  };
}

/** What workers do, by hand: every port listened at, every queue read. */
async function stand(network: Network, plan: Plan, family: 4 | 6) {
  const [{ sharedPort, workerPorts, queues: numbers, clientMark: mark } = fail()] = plan.listeners;
  const accepted: { port: number; socket: Socket }[] = [];
  const servers = await Promise.all(
    [sharedPort, ...workerPorts].map((port) =>
      serve(network.node, { family, port, mark }, (socket) => accepted.push({ port, socket })),
    ),
  );
  const waiting: { worker: number; packet: Packet }[] = [];
  const queues: Queue[] = numbers.map((number, worker) =>
    within(network.node, () =>
      openQueue({ number, onPacket: (packet) => waiting.push({ worker, packet }), onError: assert.fail }),
    ),
  );
  return {
    accepted,
    queues,
    waiting: () => waiting.length,
    held: async () => {
      await until("a held packet", () => waiting.length > 0);
      return waiting.shift()!;
    },
    release: (worker: number, packet: Packet, mark: number) =>
      queues[worker]?.verdict(packet.id, "accept", ((packet.mark & ~plan.marks.mask) | mark) >>> 0),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(queues.map((queue) => queue.close()));
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

/** The connections of a set of the bridge, by their ports, and the seconds for which it keeps them. */
function expiries({ node }: Network, set: string): { readonly ports: readonly number[]; readonly expires: number }[] {
  const { nftables } = JSON.parse(run(node, "nft", "-j", "list", "set", "bridge", "clearline", set)) as {
    nftables: { set?: { elem?: { elem: { val: { concat: (string | number)[] }; expires: number } }[] } }[];
  };
  return nftables
    .flatMap((one) => one.set?.elem ?? [])
    .map(({ elem }) => ({ ports: elem.val.concat.map(Number).filter(Number.isInteger), expires: elem.expires }));
}

function legMark({ listeners: [first] }: Plan): number {
  return (first ?? fail()).serverMark;
}

/** On a bridge, frames and reassembled packets are counted apart. */
function counter(network: Network, plan: Plan, counts: string, row?: number): number {
  const wanted = plan.counters.filter((one) => one.counts === counts && one.row === row);
  assert.ok(wanted.length > 0, `a counter of ${counts}`);
  return wanted.reduce((sum, { family, name }) => {
    const text = run(network.node, "nft", "-j", "list", "counter", family, "clearline", name);
    const { nftables } = JSON.parse(text) as { nftables: { counter?: { packets: number } }[] };
    return sum + nftables.find((one) => one.counter)!.counter!.packets;
  }, 0);
}

/** Sends a datagram from client to server, which answers. Returns what the client heard, or the name of its error. */
function udp(network: Network, ends: { client: string; server: string }, port: number): string {
  const family = ends.client.includes(":") ? "AF_INET6" : "AF_INET";
  const answerer = `
import socket, os
s = socket.socket(socket.${family}, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("${ends.server}", ${port})); s.settimeout(5)
if os.fork(): os._exit(0)
os.close(1); os.close(2)
data, peer = s.recvfrom(100); s.sendto(b"answer", peer)`;
  run(network.server, PYTHON, "-c", answerer);
  const asker = `
import socket
s = socket.socket(socket.${family}, socket.SOCK_DGRAM); s.bind(("${ends.client}", 0)); s.settimeout(5)
s.connect(("${ends.server}", ${port}))
try:
  s.send(b"question"); print(s.recv(100).decode())
except OSError as error: print(type(error).__name__)`;
  return run(network.client, PYTHON, "-c", asker).trim();
}

const ETHERTYPE = { ip: "0800", arp: "0806", vlan: "8100", ip6: "86dd", lldp: "88cc", experiment: "88b5" } as const;
const MARKER = Buffer.from("clearline frame ");

/** One frame of everything that is none of Clearline's business, each with the marker and some bytes of its own. */
function foreignFrames(): string[] {
  const frame = (type: string, payload: string, to = "020000000099") =>
    Buffer.concat([
      Buffer.from(`${to}020000000088${type}${payload}`, "hex"),
      MARKER,
      Buffer.from(`${type} ${payload}`),
    ]).toString("hex");
  const ip = (protocol: string, ttl: string) => `4500004012344000${ttl}${protocol}00000a0300020a030003`;
  const ip6 = (next: string, length = "0018") =>
    `60000000${length}${next}40fd000003000000000000000000000002fd000003000000000000000000000003`;
  const syn = "9c4001bb000000010000000050020fff00000000";
  return [
    frame(ETHERTYPE.arp, "0001080006040001020000000088" + "0a0300020000000000000a030003", "ffffffffffff"),
    frame(ETHERTYPE.ip, `${ip("01", "01")}0800f7ff00000000`),
    frame(ETHERTYPE.ip, `${ip("11", "40")}003500350020ffff`),
    frame(ETHERTYPE.ip, `${ip("2f", "40")}00000800`),
    frame(ETHERTYPE.ip, `${ip("84", "40")}0102030400000000`),
    frame(ETHERTYPE.ip6, `${ip6("3a", "0018")}8000f7ff00000000`),
    frame(ETHERTYPE.ip6, `${ip6("11", "0018")}01bb01bb0020ffff`),
    // Packets that are longer than their frame: broken, but not for a bridge to judge.
    frame(ETHERTYPE.ip6, `${ip6("06", "00c8")}${syn}`),
    frame(ETHERTYPE.ip, `4500054012344000400600000a0300020a030003${syn}`),
    frame(ETHERTYPE.vlan, `0007${ETHERTYPE.ip}${ip("06", "40")}${syn}`),
    frame(ETHERTYPE.vlan, `e064${ETHERTYPE.ip6}${ip6("06")}${syn}`),
    frame(ETHERTYPE.lldp, "020704", "0180c200000e"),
    frame(ETHERTYPE.experiment, "00"),
  ];
}

/** Sends frames from one namespace and gives those with the marker that tcpdump sees in the other. */
async function carried(
  from: string,
  link: string,
  to: string,
  at: string,
  frames: readonly string[],
): Promise<string[]> {
  const args = ["netns", "exec", to, "tcpdump", "-i", at, "-Q", "in", "-U", "-s", "0", "-w", "-", "--immediate-mode"];
  const dump = spawn("ip", args, { stdio: ["ignore", "pipe", "pipe"] });
  try {
    let capture = Buffer.alloc(0);
    dump.stdout.on("data", (part: Buffer) => {
      capture = Buffer.concat([capture, part]);
    });
    let said = "";
    dump.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    await until("a tcpdump that listens", () => said.includes("listening on"));
    const sender = `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("${link}", 0))
for frame in ${JSON.stringify(frames)}: s.send(bytes.fromhex(frame))`;
    run(from, PYTHON, "-c", sender);
    // The last frame is seen last: what is missing by then was not carried.
    await until("the last frame", () => capture.includes(Buffer.from(frames.at(-1)!, "hex")));
    return packetsOf(capture).filter((frame) => frame.includes(MARKER.toString("hex")));
  } finally {
    dump.kill();
    await once(dump, "close");
  }
}

/** The packets of a pcap file: 24 bytes of header, then 16 for each. */
function packetsOf(capture: Buffer): string[] {
  const packets: string[] = [];
  for (let at = 24; at + 16 <= capture.length; ) {
    const length = capture.readUInt32LE(at + 8);
    packets.push(capture.subarray(at + 16, at + 16 + length).toString("hex"));
    at += 16 + length;
  }
  return packets;
}

async function textOf(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  socket.resume();
  await once(socket, "end");
  return text;
}

async function codeOf(connected: Promise<Socket>): Promise<string> {
  return connected.then(
    (socket) => {
      socket.destroy();
      return "connected";
    },
    (error: NetworkError) => error.code,
  );
}

function fail(): never {
  throw new Error("The plan has no listener");
}
