import assert from "node:assert/strict";
import { DOMAIN } from "../../test/pki.ts";
import type { Claim, Stage } from "../claim.ts";
import { craft } from "../craft.ts";
import { ask } from "../ends.ts";
import { sendFrames, wayBetween } from "../hardware.ts";
import { FAMILIES, type Family } from "../network.ts";
import { bytesToward, firstWith, segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";

const QUIC = 443;

/** Traffic that the kernel forwards by itself. */
export const PAST_THE_NODE: readonly Claim[] = [
  ...FAMILIES.map(bypasses),
  untouched("A to B"),
  untouched("B to A"),
  ...FAMILIES.map(answersDatagrams),
];

function bypasses(family: Family): Claim {
  return {
    says: `IPv${family}: a connection that the network phase bypasses never reaches the node: the client sees the server's certificate, the server the client's packets`,
    async check(stage) {
      const { network, node, pki } = stage;
      const { client, server } = network;
      const sessions = (await node.stats()).counters;
      const counted = await rowPackets(stage);
      await using here = await watch(client, client.interface, "tcp");
      await using there = await watch(server, server.interface, "tcp");
      const name = `www.${DOMAIN}`;
      const address = family === 6 ? `[${server.address[6]}]` : server.address[4];
      const url = `https://${name}:${PORTS.bypassed}/`;
      const to = ["--resolve", `${name}:${PORTS.bypassed}:${address}`, "--cacert", pki.root.certificate, url];
      await client.must("curl", ["-sS", "--fail", "-m", "20", ...to]);

      const [a, b] = await Promise.all(
        [here, there].map((wire) =>
          wire.shows("the whole connection", (frames) => {
            const seen = segmentsOf(frames, PORTS.bypassed);
            return seen.filter(({ flags }) => flags.includes("F")).length >= 2 ? seen : undefined;
          }),
        ),
      );
      const [mine, its] = [bytesToward(a!, PORTS.bypassed), bytesToward(b!, PORTS.bypassed)];
      assert.equal(mine[0], 22, "not a ClientHello");
      assert.deepEqual(its, mine);
      assert.equal(firstWith(b!, "S")?.sequence, firstWith(a!, "S")?.sequence, "not the client's own connection");
      const more = (await rowPackets(stage)) - counted;
      assert.ok(more >= 1, "the row's counter did not move");
      assert.deepEqual((await node.stats()).counters, sessions, "the node has seen the connection");
      return `ClientHello and all else the same (${mine.length} bytes), one TCP connection; row counter +${more}, node's counters unmoved`;
    },
  };
}

/** The number of packets that matched the nft rules of the policy's network phase. */
async function rowPackets({ network }: Stage): Promise<number> {
  const { nftables } = JSON.parse(await network.node.must("nft", ["-j", "list", "counters"])) as {
    nftables: readonly { counter?: { name: string; packets: number } }[];
  };
  return nftables.reduce((sum, { counter }) => sum + (counter?.name.startsWith("row-") ? counter.packets : 0), 0);
}

function untouched(direction: "A to B" | "B to A"): Claim {
  return {
    says: `Traffic other than TCP crosses from ${direction} bit for bit: ICMP, UDP, other IP protocols, fragments and, on the bridge, LACP, STP and frames that are not IP`,
    async check({ network }) {
      const [from, to] = direction === "A to B" ? [network.client, network.server] : [network.server, network.client];
      const { source: own, next } = await wayBetween(network, from);
      const frames = craft({ from: from.address, to: to.address, source: own, next }).filter(
        ({ only }) => only === undefined || only === network.topology,
      );
      await using far = await watch(to, to.interface);
      await sendFrames(
        from,
        frames.map(({ bytes }) => bytes),
      );
      for (const { name, bytes, constant } of frames) {
        const same = (frame: { bytes: Buffer; ip: { constant: string } | undefined }) =>
          network.topology === "bridge" ? frame.bytes.equals(bytes) : frame.ip?.constant === constant;
        const arrived = await far.shows(name, (seen) => {
          const found = seen.filter(same);
          return found.length > 0 ? found : undefined;
        });
        assert.equal(arrived.length, 1, `${name} arrived ${arrived.length} times`);
      }
      return `${frames.length} of ${frames.length} the same: ${frames.map(({ name }) => name).join(", ")}`;
    },
  };
}

function answersDatagrams(family: Family): Claim {
  return {
    says: `IPv${family}: UDP 443 passes by default`,
    async check({ network: { client, server } }) {
      const answer = await ask(client, { address: server.address[family], port: QUIC }, Buffer.from("quic?"));
      assert.equal(String(answer), "quic?");
      return `"${answer}" came back from port ${QUIC}`;
    },
  };
}
