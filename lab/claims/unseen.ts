import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { type CraftedSyn, tcpFrame } from "../craft.ts";
import { sendFrames, wayBetween } from "../hardware.ts";
import { FAMILIES, type Family } from "../network.ts";
import { segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";

const ACK = 0x10;
const RST = 0x04;
const SYN_ACK = 0x12;
/** A port at which the server's own firewall drops everything. */
const SWALLOWED = 4905;

/** Connections of which the node has not seen the beginning, or sees one direction only. */
export const UNSEEN: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [
    midStream(family, "A to B"),
    midStream(family, "B to A"),
    answeredElsewhere(family),
  ]),
  strayAnswer(),
  linkLocal(),
];

/** With the listener's setting midStream: reset. */
export const MID_STREAM_RESET: readonly Claim[] = FAMILIES.flatMap((family) => [
  midStreamReset(family, "A to B"),
  midStreamReset(family, "B to A"),
]);

/** Connections that the server's side opens. */
export const BOTH_WAYS: readonly Claim[] = FAMILIES.map(otherWay);

function midStream(family: Family, direction: "A to B" | "B to A"): Claim {
  return {
    says: `IPv${family}: a packet from ${direction} of a connection that began before the node passes as it is, and is counted`,
    async check(stage) {
      const { client, server, topology } = stage.network;
      const [from, to] = direction === "A to B" ? [client, server] : [server, client];
      const before = await counted(stage, "midStream");
      await using there = await watch(to, to.interface, "tcp");
      const packet = { ...segment(from.address[family], to.address[family], PORTS.https), flags: ACK };
      const frame = tcpFrame(packet, await wayBetween(stage.network, from));
      await sendFrames(from, [frame]);
      const arrived = await there.shows("the packet", (frames) =>
        frames.find(({ ip }) => ip?.tcp?.from === packet.source && ip.tcp.flags === "A"),
      );
      // A router lowers the hop limit; a bridge changes nothing.
      if (topology === "bridge") assert.equal(arrived.bytes.toString("hex"), frame.toString("hex"));
      await moreThan(stage, "midStream", before);
      return topology === "bridge" ? "bit for bit" : "forwarded";
    },
  };
}

function midStreamReset(family: Family, direction: "A to B" | "B to A"): Claim {
  return {
    says: `IPv${family}: with midStream: reset, a connection that began before the node is reset by its packet from ${direction}, which does not arrive`,
    async check(stage) {
      const { client, server } = stage.network;
      const [from, to] = direction === "A to B" ? [client, server] : [server, client];
      const before = await counted(stage, "midStream");
      await using here = await watch(from, from.interface, "tcp");
      await using there = await watch(to, to.interface, "tcp");
      const packet = { ...segment(from.address[family], to.address[family], PORTS.https), flags: ACK };
      // A port that the listener leaves alone: what is sent behind the packet passes, and so would the packet have.
      const behind = segment(from.address[family], to.address[family], PORTS.echo);
      const way = await wayBetween(stage.network, from);
      await sendFrames(from, [tcpFrame(packet, way), tcpFrame(behind, way)]);
      const answer = await here.shows("a RST", (frames) =>
        segmentsOf(frames, PORTS.https).find(({ to, flags }) => to === packet.source && flags.includes("R")),
      );
      const seen = await there.shows("the SYN behind it", (frames) =>
        segmentsOf(frames, PORTS.echo).some(({ from }) => from === behind.source) ? frames : undefined,
      );
      assert.deepEqual(
        segmentsOf(seen, PORTS.https).filter(({ from }) => from === packet.source),
        [],
      );
      await moreThan(stage, "midStream", before);
      return answer.flags;
    },
  };
}

function answeredElsewhere(family: Family): Claim {
  return {
    says: `IPv${family}: a connection of which one direction alone crosses the node is called that, and counted`,
    async check(stage) {
      const { client, server } = stage.network;
      const table = "inet clearline-lab-elsewhere";
      const rule = `table ${table} {\nchain input {\ntype filter hook input priority 0;\ntcp dport ${SWALLOWED} drop\n}\n}\n`;
      await server.must("nft", ["-f", "-"], { input: rule });
      try {
        const before = await counted(stage, "asymmetric");
        const since = Date.now();
        const syn = segment(client.address[family], server.address[family], SWALLOWED);
        const way = await wayBetween(stage.network, client);
        await sendFrames(client, [tcpFrame(syn, way)]);
        const held = await stage.node.sessionFrom(syn.source, since);
        // What a client says to the server's answer, which has reached it by another way.
        await sendFrames(client, [tcpFrame({ ...syn, flags: RST }, way)]);
        const { closeReason } = await until("the session's end", async () => {
          const found = await stage.node.sessionFrom(syn.source, since);
          return found.end !== null && found;
        });
        assert.match(closeReason ?? "", /one direction/);
        await moreThan(stage, "asymmetric", before);
        const { stdout } = await stage.node.command("report");
        assert.match(stdout, /^Asymmetric: one direction alone crosses the node\n.*\n\s*edge +\d+$/m);
        return `${held.state}: "${closeReason}", and in the report`;
      } finally {
        await server.must("nft", ["delete", "table", ...table.split(" ")]);
      }
    },
  };
}

function strayAnswer(): Claim {
  return {
    says: "The answer to a SYN that took another way is counted, and crosses a bridge",
    async check(stage) {
      const { client, server } = stage.network;
      const before = await counted(stage, "asymmetric");
      await using here = await watch(client, client.interface, "tcp");
      const packet = { ...segment(server.address[4], client.address[4], PORTS.odd), flags: SYN_ACK };
      await sendFrames(server, [tcpFrame(packet, await wayBetween(stage.network, server))]);
      await moreThan(stage, "asymmetric", before);
      // The lab's router drops what connection tracking calls invalid.
      if (stage.network.topology === "routed") return "counted";
      await here.shows("the answer", (frames) =>
        segmentsOf(frames, PORTS.odd).find(({ from, flags }) => from === packet.source && flags === "SA"),
      );
      return "counted, and forwarded";
    },
  };
}

function linkLocal(): Claim {
  return {
    says: "A SYN between link-local addresses, which belong to the wire itself, crosses a bridge as it is, and is counted",
    only: "bridge",
    async check(stage) {
      const { client, server } = stage.network;
      const before = await counted(stage, "linkLocal");
      await using there = await watch(server, server.interface, "tcp");
      const frame = tcpFrame(segment("fe80::a", "fe80::b", PORTS.https), await wayBetween(stage.network, client));
      await sendFrames(client, [frame]);
      await there.shows("the SYN", (frames) => frames.find(({ bytes }) => bytes.equals(frame)));
      await moreThan(stage, "linkLocal", before);
      return "bit for bit";
    },
  };
}

function otherWay(family: Family): Claim {
  return {
    says: `IPv${family}: TLS that the server's side opens to the client's side is decrypted too, with both addresses kept`,
    async check({ network: { client, server }, node, pki }) {
      const address = client.address[family];
      const to = family === 6 ? `[${address}]` : address;
      const { certificate, key } = pki.server.ecdsa;
      const page = ["s_server", "-accept", `${to}:443`, "-www", "-cert", certificate, "-key", key];
      const origin = client.start("openssl", page);
      try {
        await origin.shows(/ACCEPT/);
        const name = `other-way-${family}.${DOMAIN}`;
        const url = ["--resolve", `${name}:443:${to}`, `https://${name}/`];
        await server.must("curl", ["-sS", "--fail", "-m", "20", "--cacert", node.authorities, ...url]);
        const [session] = await until("the session", async () => {
          const found = await node.sessions({ sni: name });
          return found.length > 0 && found[0]!.verdict !== null && found;
        });
        assert.equal(session!.verdict, "decrypt");
        assert.equal(session!.client.address, server.address[family]);
        assert.deepEqual(session!.server, { address, port: 443 });
        assert.equal(session!.seenAs?.address, server.address[family]);
        return `${session!.client.address} to ${session!.server!.address}, ${session!.verdict}`;
      } finally {
        await origin.stop();
      }
    },
  };
}

async function counted({ node }: Stage, counts: string): Promise<number> {
  const { kernel } = await node.stats();
  return kernel.filter((one) => one.counts === counts).reduce((sum, { packets }) => sum + packets, 0);
}

function moreThan(stage: Stage, counts: string, before: number): Promise<unknown> {
  return until(`the counter ${counts} to move`, async () => (await counted(stage, counts)) > before);
}

/** From a port that no kernel uses by itself, and that no earlier claim had. */
function segment(from: string, to: string, target: number): CraftedSyn {
  return { from, to, source: 20_500 + randomInt(4_000), target };
}
