import assert from "node:assert/strict";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { type CraftedSyn, inSnap, synInFragments, tcpFrame, withPriority, withTags } from "../craft.ts";
import { sendFrames, wayBetween } from "../hardware.ts";
import { FAMILIES, type Family } from "../network.ts";
import { firstWith, segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";

/** Ports of the client that its kernel does not use by itself. */
let nextPort = 20_100;

/** SYN with FIN, SYN with RST, FIN with RST, and no flag at all. */
const IMPOSSIBLE = [0x03, 0x06, 0x05, 0x00];

/** Packets by which a client tried to get past the node. */
export const ODD_PACKETS: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [fragmentsAreTaken(family), fragmentsAreBypassed(family)]),
  ...FAMILIES.map(priorityIsTaken),
  ...FAMILIES.map(tagsHideNothing),
  ...FAMILIES.map(snapIsDropped),
  ...FAMILIES.map(impossibleFlags),
  ...FAMILIES.map(halfIsCounted),
];

function fragmentsAreTaken(family: Family): Claim {
  return {
    says: `IPv${family}: a connection whose SYN comes in IP fragments is intercepted: the server sees the node's SYN`,
    async check(stage) {
      const { server } = stage.network;
      await using there = await watch(server, server.interface, "tcp");
      const since = Date.now();
      const syn = synOf(stage, family, PORTS.https);
      await sendFrames(
        stage.network.client,
        synInFragments(syn, await wayBetween(stage.network, stage.network.client)),
      );
      const session = await stage.node.sessionFrom(syn.source, since);
      const seen = await there.shows("the node's SYN", (frames) =>
        segmentsOf(frames, PORTS.https).find(({ from, flags }) => from === syn.source && flags === "S"),
      );
      assert.notEqual(seen.sequence, sequenceOf(syn), "the client's own SYN reached the server");
      return `a session in state ${session.state}`;
    },
  };
}

function priorityIsTaken(family: Family): Claim {
  return {
    says: `IPv${family}: a connection whose SYN has a priority tag, which is of no VLAN, is intercepted`,
    async check(stage) {
      const { client, server } = stage.network;
      await using there = await watch(server, server.interface);
      const since = Date.now();
      const syn = synOf(stage, family, PORTS.https);
      await sendFrames(client, [withPriority(tcpFrame(syn, await wayBetween(stage.network, client)))]);
      const session = await stage.node.sessionFrom(syn.source, since);
      const seen = await there.shows("the node's SYN", (frames) =>
        segmentsOf(frames, PORTS.https).find(({ from, flags }) => from === syn.source && flags === "S"),
      );
      assert.notEqual(seen.sequence, sequenceOf(syn), "the client's own SYN reached the server");
      return `a session in state ${session.state}`;
    },
  };
}

function tagsHideNothing(family: Family): Claim {
  return {
    says: `IPv${family}: a connection whose SYN has several priority tags, which hosts take off one by one, is intercepted`,
    async check(stage) {
      const { client, server } = stage.network;
      await using there = await watch(server, server.interface, "");
      const way = await wayBetween(stage.network, client);
      const states = [];
      for (const tags of [2, 3]) {
        const since = Date.now();
        const syn = synOf(stage, family, PORTS.https);
        await sendFrames(client, [withTags(tcpFrame(syn, way), Array<number>(tags).fill(0))]);
        states.push((await stage.node.sessionFrom(syn.source, since)).state);
        await there.shows("the node's SYN", (frames) =>
          segmentsOf(frames, PORTS.https).find(({ from, flags }) => from === syn.source && flags === "S"),
        );
        assert.ok(!(await there.shows("what came", (frames) => frames)).some(({ bytes }) => isOwn(bytes, syn)));
      }
      return states.join(", ");
    },
  };
}

function snapIsDropped(family: Family): Claim {
  return {
    says: `IPv${family}: TCP in LLC/SNAP framing, which some hosts read like any other, is dropped and counted`,
    only: "bridge",
    async check(stage) {
      const { client, server } = stage.network;
      const before = await impossible(stage);
      await using there = await watch(server, server.interface, "");
      const way = await wayBetween(stage.network, client);
      const syn = synOf(stage, family, PORTS.https);
      const last = synOf(stage, family, PORTS.closed);
      const hidden = inSnap(tcpFrame(syn, way));
      await sendFrames(client, [hidden, withPriority(hidden), tcpFrame(last, way)]);
      const seen = await there.shows("the SYN behind them", (frames) =>
        firstWith(segmentsOf(frames, PORTS.closed), "S") ? frames : undefined,
      );
      assert.ok(!seen.some(({ bytes }) => isOwn(bytes, syn)));
      const more = await until("the count", async () => (await impossible(stage)) - before || undefined);
      return `${more} dropped`;
    },
  };
}

/** Whether these bytes have the client's own SYN in them. */
function isOwn(bytes: Buffer, syn: CraftedSyn): boolean {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(syn.source, 0);
  head.writeUInt16BE(syn.target, 2);
  head.writeUInt32BE(sequenceOf(syn), 4);
  return bytes.includes(head);
}

function fragmentsAreBypassed(family: Family): Claim {
  return {
    says: `IPv${family}: the network phase bypasses a connection also when its SYN comes in IP fragments`,
    async check(stage) {
      const { server } = stage.network;
      await using there = await watch(server, server.interface);
      const syn = synOf(stage, family, PORTS.bypassed);
      await sendFrames(
        stage.network.client,
        synInFragments(syn, await wayBetween(stage.network, stage.network.client)),
      );
      // Whole or in fragments again: the server answers the client's own sequence number.
      const answer = await there.shows("the server's answer", (frames) =>
        segmentsOf(frames, PORTS.bypassed).find(({ to, flags }) => to === syn.source && flags === "SA"),
      );
      const sessions = (await stage.node.sessions()).filter(({ server: to }) => to?.port === PORTS.bypassed);
      assert.deepEqual(sessions, []);
      return `${answer.flags}, and no session`;
    },
  };
}

function impossibleFlags(family: Family): Claim {
  return {
    says: `IPv${family}: packets with flags that no TCP sends together are dropped and counted`,
    async check(stage) {
      const { client, server } = stage.network;
      const before = await impossible(stage);
      await using there = await watch(server, server.interface, "tcp");
      const way = await wayBetween(stage.network, stage.network.client);
      const odd = IMPOSSIBLE.map((flags) => ({ ...synOf(stage, family, PORTS.closed), flags }));
      const last = synOf(stage, family, PORTS.closed);
      await sendFrames(
        client,
        [...odd, last].map((packet) => tcpFrame(packet, way)),
      );
      const count = await until("the count", async () => {
        const more = (await impossible(stage)) - before;
        return more >= odd.length && { more };
      });
      const seen = await there.shows("the SYN behind them", (frames) => {
        const all = segmentsOf(frames, PORTS.closed);
        return firstWith(all, "S") && all;
      });
      const ports = new Set(odd.map(({ source }) => source));
      assert.deepEqual(
        seen.filter(({ from }) => ports.has(from)),
        [],
      );
      return `${count.more} of ${odd.length} dropped`;
    },
  };
}

/** The kernel's settings for how many seconds it waits for the rest of a packet. */
const PATIENCE = ["net.ipv4.ipfrag_time", "net.ipv6.ip6frag_time", "net.netfilter.nf_conntrack_frag6_timeout"];

function halfIsCounted(family: Family): Claim {
  return {
    says: `IPv${family}: a packet that never becomes whole from its fragments, which nobody can judge, is dropped and counted`,
    async check(stage) {
      const { client, node, server } = stage.network;
      const unjoined = async () =>
        (await stage.node.stats()).kernel.find(({ counts }) => counts === "fragments")?.packets ?? 0;
      const before = await unjoined();
      await using there = await watch(server, server.interface, "");
      const way = await wayBetween(stage.network, client);
      const last = synOf(stage, family, PORTS.closed);
      const syn = synOf(stage, family, PORTS.https);
      const [half] = synInFragments(syn, way) as [Buffer];
      const settings = (await node.must("sysctl", ["-e", ...PATIENCE])).trim().split("\n");
      const change = (words: readonly string[]) =>
        node.must("sysctl", ["-qw", ...words.map((setting) => setting.replaceAll(" ", ""))]);
      await change(settings.map((setting) => setting.replace(/=.*/, "=1")));
      try {
        await sendFrames(client, [half, tcpFrame(last, way)]);
        const more = await until("the count", async () => (await unjoined()) - before || undefined);
        const seen = await there.shows("the SYN behind it", (frames) =>
          firstWith(segmentsOf(frames, PORTS.closed), "S") ? segmentsOf(frames, PORTS.https) : undefined,
        );
        // Sessions of earlier claims may end meanwhile.
        assert.deepEqual(
          seen.filter(({ from }) => from === syn.source),
          [],
        );
        return `${more} dropped`;
      } finally {
        await change(settings);
      }
    },
  };
}

async function impossible({ node }: Stage): Promise<number> {
  const { kernel } = await node.stats();
  return kernel.filter(({ counts }) => counts === "impossible").reduce((sum, { packets }) => sum + packets, 0);
}

function synOf({ network: { client, server } }: Stage, family: Family, target: number): CraftedSyn {
  return { from: client.address[family], to: server.address[family], source: nextPort++, target };
}

function sequenceOf({ source }: CraftedSyn): number {
  return (source * 65_537) % 2 ** 32;
}
