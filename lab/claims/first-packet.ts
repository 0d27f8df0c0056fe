import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import { within } from "../../src/linux/netns.ts";
import { transparentListener } from "../../src/linux/sockets.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { begin, dial, nextLine } from "../ends.ts";
import { type End, FAMILIES, type Family } from "../network.ts";
import { firstWith, segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";

/** Ports of which the server's own firewall drops or rejects the packets. */
const HELD_UP = 4901;
const SWALLOWED = 4902;
const UNREACHABLE = 4903;
/** Addresses in the server's network that no host has. */
const NOBODY = {
  bridge: { 4: "10.3.0.97", 6: "fd00:3::97" },
  routed: { 4: "10.2.0.97", 6: "fd00:2::97" },
} as const;
/** The node's addresses where it is the clients' router. */
const ROUTER = { 4: "10.1.0.1", 6: "fd00:1::1" } as const;
/** A port whose listener never accepts. */
const BUSY = 4904;
const CONNECTIONS = 60;

/** The node connects to the server before it answers the client's SYN, so the client sees how the server answers. */
export const FIRST_PACKET: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [order(family), refuses(family), unreachable(family), unanswered(family)]),
  prohibited(),
  silent(),
  sentAgain(),
  givenUp(),
  sameWorker(),
];

function order(family: Family): Claim {
  return {
    says: `IPv${family}: the client's SYN is answered only after the server has answered the node's`,
    async check({ network: { client, server } }) {
      await using here = await watch(client, client.interface, "tcp");
      await using there = await watch(server, server.interface, "tcp");
      const socket = await dial(client, { address: server.address[family], port: PORTS.silent });
      socket.destroy();
      const times = await Promise.all(
        [here, there].map((wire) =>
          wire.shows("the whole handshake", (frames) => {
            const seen = segmentsOf(frames, PORTS.silent);
            const [syn, answer] = [firstWith(seen, "S"), firstWith(seen, "SA")];
            return syn && answer && { syn: syn.time, answer: answer.time };
          }),
        ),
      );
      const [a, b] = times as [(typeof times)[0], (typeof times)[0]];
      const steps = [a.syn, b.syn, b.answer, a.answer].map((time) => time - a.syn);
      assert.deepEqual(
        steps,
        steps.toSorted((x, y) => x - y),
        `the order was ${steps.join(", ")} ms`,
      );
      const [, sent, answered, released] = steps.map((step) => step.toFixed(2));
      return `SYN at A 0, SYN at B ${sent}, SYN-ACK at B ${answered}, SYN-ACK at A ${released} ms`;
    },
  };
}

function refuses(family: Family): Claim {
  return {
    says: `IPv${family}: a closed port answers the client's SYN with a RST; no SYN-ACK is ever sent`,
    async check({ network: { client, server } }) {
      await using here = await watch(client, client.interface, "tcp");
      const code = await failure(dial(client, { address: server.address[family], port: PORTS.closed }));
      assert.equal(code, "ECONNREFUSED");
      const seen = await here.shows("a RST", (frames) => {
        const found = segmentsOf(frames, PORTS.closed);
        return firstWith(found, "RA") && found;
      });
      // A client that has waited for a second sends its SYN again.
      assert.deepEqual([...new Set(seen.map(({ flags }) => flags))], ["S", "RA"]);
      return `S, then RA after ${(firstWith(seen, "RA")!.time - seen[0]!.time).toFixed(2)} ms`;
    },
  };
}

function unreachable(family: Family): Claim {
  return {
    says: `IPv${family}: the client gets the network's error about a host that cannot be reached`,
    async check({ network: { client, server } }) {
      await using _ = await firewall(server, `tcp dport ${UNREACHABLE} reject with icmpx type host-unreachable`);
      await using here = await watch(client, client.interface, "tcp");
      const start = performance.now();
      const code = await failure(dial(client, { address: server.address[family], port: UNREACHABLE }));
      const took = performance.now() - start;
      assert.equal(code, "EHOSTUNREACH");
      const flags = segmentsOf(here.frames(), UNREACHABLE).map((segment) => segment.flags);
      assert.ok(!flags.includes("SA"), `the client saw ${flags}`);
      return `${code} after ${took.toFixed(0)} ms`;
    },
  };
}

function prohibited(): Claim {
  return {
    says: "IPv6: a firewall's administratively-prohibited reaches the client as what it is",
    async check({ network: { client, server } }) {
      await using _ = await firewall(server, `tcp dport ${UNREACHABLE} reject with icmpx type admin-prohibited`);
      await using here = await watch(client, client.interface, "icmp6 and ip6[40] == 1");
      const code = await failure(dial(client, { address: server.address[6], port: UNREACHABLE }));
      assert.equal(code, "EACCES");
      const [error] = await here.shows("an ICMPv6 error", (frames) => (frames.length > 0 ? frames : undefined));
      // RFC 4443, section 3.1.
      assert.deepEqual([...error!.bytes.subarray(54, 56)], [1, 1]);
      return `${code}, ICMPv6 type 1 code 1`;
    },
  };
}

function unanswered(family: Family): Claim {
  return {
    says: `IPv${family}: the client is told that a host is unreachable as soon as ARP or neighbour discovery has failed`,
    async check({ network, node }) {
      const { client, topology } = network;
      const address = NOBODY[topology][family];
      // On a bridge the client's own ARP would fail. With an old entry in its table it sends its SYN all the same.
      const neighbour = [address, "lladdr", "02:00:00:00:00:97", "dev", client.interface];
      if (topology === "bridge") await client.must("ip", [`-${family}`, "neigh", "add", ...neighbour]);
      await using wire = await watch(client, client.interface, "icmp[0] == 3 or (icmp6 and ip6[40] == 1)");
      const start = performance.now();
      const code = await failure(dial(client, { address, port: PORTS.https }));
      const took = performance.now() - start;
      assert.equal(code, "EHOSTUNREACH");
      const { closeReason } = await until("the session's end", async () =>
        (await node.sessions()).find(({ server, end }) => server?.address === address && end !== null),
      );
      assert.match(closeReason ?? "", /EHOSTUNREACH/);
      const [source] = await wire.shows("an ICMP error", (frames) =>
        frames.length > 0 ? frames.map(({ ip }) => ip?.source) : undefined,
      );
      // A router sends the error from its own address; a bridge uses the server's.
      const speaker = topology === "bridge" ? address : ROUTER[family];
      assert.equal(source, speaker);
      return `${code} after ${took.toFixed(0)} ms, from ${source}; closed: "${closeReason}"`;
    },
  };
}

function silent(): Claim {
  return {
    says: "A server that answers no SYN, and one whose backlog is full, are reset toward the client after timeouts.connect",
    async check({ network: { client, server }, node }) {
      await using _ = await firewall(server, `tcp dport ${SWALLOWED} drop`);
      await using _busy = await fullBacklog(server);
      await using here = await watch(client, client.interface, "tcp");
      const tries = FAMILIES.flatMap((family) => [SWALLOWED, BUSY].map((port) => ({ family, port })));
      const since = Date.now();
      const codes = await Promise.all(
        tries.map(({ family, port }) => failure(dial(client, { address: server.address[family], port }))),
      );
      assert.deepEqual(
        codes,
        tries.map(() => "ECONNREFUSED"),
      );
      const seen = await here.shows("the RSTs", (frames) => {
        const found = tries.flatMap(({ port }) => segmentsOf(frames, port));
        return firstWith(found, "RA") && found;
      });
      assert.deepEqual([...new Set(seen.map(({ flags }) => flags))].sort(), ["RA", "S"]);
      const ends = await until("the ends of the sessions", async () => {
        const own = (await node.sessions()).filter(
          ({ server, start }) => start >= since && [SWALLOWED, BUSY].includes(server?.port ?? 0),
        );
        return own.length === tries.length && own.every(({ end }) => end !== null) && own;
      });
      for (const { closeReason, state } of ends) {
        assert.match(closeReason ?? "", /in 5000 ms/);
        assert.equal(state, "SYN_RCV:SYN_SENT:INIT:INIT");
      }
      return `${codes.join(", ")}; closed: "${ends[0]!.closeReason}"`;
    },
  };
}

function sentAgain(): Claim {
  return {
    says: "A SYN that is sent again makes no second connection to the server and no second session",
    async check({ network: { client, server }, node }) {
      await using here = await watch(client, client.interface, "tcp");
      await using there = await watch(server, server.interface, "tcp");
      await using wall = await firewall(server, `tcp dport ${HELD_UP} drop`);
      const since = Date.now();
      const socket = begin(client, { address: server.address[4], port: HELD_UP });
      const over = ended(socket);
      const { from: port } = await there.shows("the node's SYN", (frames) => segmentsOf(frames, HELD_UP)[0]);
      const held = await node.sessionFrom(port, since);
      assert.equal(held.state, "SYN_RCV:SYN_SENT:INIT:INIT");
      // The stopped workers find the client's second SYN and the server's refusal at the same time.
      const workers = (await node.stats()).workers.map(({ pid }) => pid);
      for (const pid of workers) process.kill(pid, "SIGSTOP");
      try {
        await here.shows("the client's second SYN", (frames) => segmentsOf(frames, HELD_UP)[1]);
        await wall[Symbol.asyncDispose]();
        await there.shows("the server's refusal", (frames) => firstWith(segmentsOf(frames, HELD_UP), "RA"));
      } finally {
        for (const pid of workers) process.kill(pid, "SIGCONT");
      }
      assert.equal(await over, "ECONNREFUSED");
      await until("the session's end", async () => (await node.sessionFrom(port, since)).end !== null);
      const syns = segmentsOf(there.frames(), HELD_UP).filter(({ flags }) => flags === "S");
      assert.equal(new Set(syns.map(({ from, sequence }) => `${from} ${sequence}`)).size, 1);
      const sessions = (await node.sessions()).filter(({ client, start }) => client.port === port && start >= since);
      assert.equal(sessions.length, 1);
      const sent = segmentsOf(here.frames(), HELD_UP).filter(({ flags }) => flags === "S").length;
      return `${sent} SYNs of the client, held in ${held.state}; 1 connection attempt at the server`;
    },
  };
}

function givenUp(): Claim {
  return {
    says: "When the client gives up during the SYN, no session, no socket and no queued packet is left",
    async check({ network, node }) {
      const { client, server } = network;
      await using here = await watch(client, client.interface, "tcp");
      await using _ = await firewall(server, `tcp dport ${SWALLOWED} drop`);
      const since = Date.now();
      const socket = begin(client, { address: server.address[4], port: SWALLOWED });
      const { from: port } = await here.shows("the SYN", (frames) => segmentsOf(frames, SWALLOWED)[0]);
      await node.sessionFrom(port, since);
      socket.destroy();
      const { closeReason } = await until("the session's end", async () => {
        const found = await node.sessionFrom(port, since);
        return found.end !== null && found;
      });
      const sockets = await until("no socket for it", async () => {
        const found = await network.node.must("ss", ["-Htan", "state", "syn-sent", "state", "syn-recv"]);
        return !found.includes(`:${SWALLOWED}`) && { found };
      });
      assert.equal(sockets.found.trim(), "");
      const queues = await heldPackets({ network });
      assert.equal(queues, 0);
      return `closed: "${closeReason}"`;
    },
  };
}

function sameWorker(): Claim {
  return {
    says: "With several workers, the worker that connected to the server also accepts the client",
    async check({ network: { client, server }, node, servers }) {
      const before = servers.accepted.get(PORTS.who)?.length ?? 0;
      const own = new Set<number>();
      const since = Date.now();
      await Promise.all(
        Array.from({ length: CONNECTIONS }, async () => {
          const socket = await dial(client, { address: server.address[4], port: PORTS.who });
          own.add(socket.localPort ?? 0);
          await nextLine(socket);
          socket.end();
        }),
      );
      // If another worker had accepted the client, it would have made a second connection to the server.
      assert.equal((servers.accepted.get(PORTS.who)?.length ?? 0) - before, CONNECTIONS);
      const sessions = await until("their sessions", async () => {
        const found = (await node.sessions()).filter(({ client, start }) => own.has(client.port) && start >= since);
        return found.length === CONNECTIONS && found.every(({ end }) => end !== null) && found;
      });
      const workers = new Set(sessions.map(({ worker }) => worker));
      assert.equal(workers.size, 2);
      return `${CONNECTIONS} clients, ${CONNECTIONS} connections at the server, ${workers.size} workers`;
    },
  };
}

/** The number of packets in the NFQUEUEs of the node's host. */
async function heldPackets({ network }: Pick<Stage, "network">): Promise<number> {
  const table = await network.node.must("cat", ["/proc/net/netfilter/nfnetlink_queue"]);
  const rows = table.split("\n").filter(Boolean);
  return rows.reduce((sum, row) => sum + Number(row.trim().split(/\s+/)[2]), 0);
}

async function failure(dialing: Promise<unknown>): Promise<string> {
  return dialing.then(
    () => "no error",
    (error: NodeJS.ErrnoException) => error.code ?? String(error),
  );
}

function ended(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? String(error)));
    socket.on("connect", () => resolve("no error"));
  });
}

/** Listens in a host, for both families, without accepting anything, and fills the queue: the kernel drops further SYNs. */
async function fullBacklog(on: End): Promise<AsyncDisposable> {
  const listeners = ["0.0.0.0", "::"].map((address) =>
    within(on.namespace, () => transparentListener({ address, port: BUSY, backlog: 0, reusePort: false })),
  );
  // With a backlog of 0 the queue holds one connection.
  const waiting = await Promise.all(FAMILIES.map((family) => dial(on, { address: on.address[family], port: BUSY })));
  return {
    async [Symbol.asyncDispose]() {
      for (const client of waiting) client.destroy();
      for (const fd of listeners) closeSync(fd);
    },
  };
}

let walls = 0;

/** Adds a rule for incoming packets to a host, until disposed of. */
async function firewall(on: End, rule: string): Promise<AsyncDisposable> {
  const table = `clearline-lab-${walls++}`;
  const input = `table inet ${table} {\nchain input {\ntype filter hook input priority 0; policy accept;\n${rule}\n}\n}\n`;
  await on.must("nft", ["-f", "-"], { input });
  let up = true;
  return {
    async [Symbol.asyncDispose]() {
      if (up) await on.must("nft", ["delete", "table", "inet", table]);
      up = false;
    },
  };
}
