import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nameVlan, TAG_TYPES, type VlanTags } from "../../src/linux/vlan-programs.ts";
import { DOMAIN } from "../../test/pki.ts";
import { type Program, scratch, until } from "../../test/processes.ts";
import type { Claim } from "../claim.ts";
import { tcpFrame, udpFrame, withTags } from "../craft.ts";
import { hardware, sendFrames } from "../hardware.ts";
import { FAMILIES, type Family } from "../network.ts";
import { startNode } from "../node.ts";
import { segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { describeSetup } from "../setup.ts";
import {
  bracketed,
  CONFIGURED,
  counted,
  curl,
  DIALOGUE,
  DOUBLE,
  DROPPED_IN_TWENTY,
  endsOf,
  fetchPage,
  MUCH,
  MUCH_PORT,
  PAGE,
  PLACE,
  prefixOf,
  programsOn,
  serve,
  servePage,
  TEN,
  TWENTY,
  tagBytes,
  tagsOf,
  tagWords,
  UNKNOWN,
} from "../vlan-stage.ts";
import { watch } from "../wire.ts";
import { VLAN_PRIORITIES } from "./priorities.ts";
import { fetchDecrypted } from "./traffic.ts";

export const VLAN_LISTENER = {
  vlans: [
    { id: 10, ...PLACE },
    { id: 20, ...PLACE },
    { id: 10, outer: 100, ...PLACE },
    { id: 20, outer: 200, outerType: "802.1Q", ...PLACE },
  ],
  stop: "keep",
} as const;
export const VLAN_CONFIG = {
  policy: { rules: [{ name: "not in 20", match: { vlan: 20, port: DROPPED_IN_TWENTY }, action: "drop" }] },
} as const;

/** The last of these kills the node. */
export const VLANS: readonly Claim[] = [
  ...CONFIGURED.flatMap((tags) => FAMILIES.map((family) => decrypts(tags, family))),
  ...FAMILIES.map(keepsApart),
  ...FAMILIES.map(passesUnknown),
  ...VLAN_PRIORITIES,
  carriesMuch(),
  dropsInOne(),
  passesOthers(),
  hidesNothing(),
  untagged(),
  absentHost(),
  leaves(),
];

function decrypts(tags: VlanTags, family: Family): Claim {
  return {
    says: `IPv${family}: TLS in VLAN ${nameVlan(tags)} is decrypted, with its tags and addresses on both sides, and the record names the VLAN`,
    only: "bridge",
    async check(stage) {
      const ends = endsOf(stage, tags);
      await using here = await watch(stage.network.client, stage.network.client.interface, "");
      await using there = await watch(stage.network.server, stage.network.server.interface, "");
      await using _server = await servePage(stage, ends);
      const name = `vlan-${nameVlan(tags).replace("/", "-")}-${family}.${DOMAIN}`;
      const page = await fetchPage(ends, family, PAGE, name, stage.node.authorities);
      assert.match(page, new RegExp(`id_prefix ${prefixOf(tags)} `));
      const session = await until("the session", async () =>
        (await stage.node.sessions({ sni: name })).find(({ verdict }) => verdict !== null),
      );
      assert.deepEqual(
        [session.vlan, session.verdict, session.client.address, session.server?.address, session.seenAs?.address],
        [
          nameVlan(tags),
          "decrypt",
          ends.client.address[family],
          ends.server.address[family],
          ends.client.address[family],
        ],
      );
      const seen = [];
      for (const wire of [here, there]) seen.push(await tagsOf(wire, session.client.port));
      assert.deepEqual(seen, [[tagBytes(tags)], [tagBytes(tags)]]);
      return `VLAN ${session.vlan}, ${session.client.address} to ${session.server?.address}, tags ${seen.flat().join(" and ")}`;
    },
  };
}

function keepsApart(family: Family): Claim {
  return {
    says: `IPv${family}: connections with the same four addresses and ports in several VLANs are decrypted side by side, and each reaches its own server`,
    only: "bridge",
    async check(stage) {
      const since = Date.now();
      await using stack = new AsyncDisposableStack();
      const own = stack;
      const port = 23_000 + family;
      const clients: Program[] = [];
      const servers: Program[] = [];
      for (const tags of CONFIGURED) {
        const ends = endsOf(stage, tags);
        servers.push(await serve(own, stage, ends, DIALOGUE, []));
        const [from, to] = [ends.client, ends.server].map(({ address }) => bracketed(address[family]));
        const client = ends.client.start("openssl", [
          ...["s_client", "-bind", `${from}:${port}`, "-connect", `${to}:${DIALOGUE}`, "-quiet"],
          ...["-servername", `apart.${DOMAIN}`, "-CAfile", stage.node.authorities, "-verify_return_error"],
        ]);
        own.defer(async () => void (await client.stop()));
        clients.push(client);
        client.write(`${prefixOf(tags)}\n`);
        await servers.at(-1)!.shows(new RegExp(`^${prefixOf(tags)}$`, "m"));
      }
      for (const [index, server] of servers.entries()) {
        server.write(`to ${prefixOf(CONFIGURED[index]!)}\n`);
        await clients[index]!.shows(new RegExp(`^to ${prefixOf(CONFIGURED[index]!)}$`, "m"));
      }
      const sessions = await until("a live session in each VLAN", async () => {
        const found = (await stage.node.sessions()).filter(
          ({ client, start, verdict }) => client.port === port && start >= since && verdict !== null,
        );
        return found.length === CONFIGURED.length && found;
      });
      assert.deepEqual(sessions.map(({ vlan }) => vlan).sort(), CONFIGURED.map(nameVlan).sort());
      assert.ok(sessions.every(({ verdict, end }) => verdict === "decrypt" && end === null));
      return `${sessions.length} live sessions from ${sessions[0]?.client.address} port ${port} to ${sessions[0]?.server?.address}`;
    },
  };
}

function passesUnknown(family: Family): Claim {
  return {
    says: `IPv${family}: a VLAN that the node is not told of crosses the bridge: the client sees the server's own certificate, and the frames are counted`,
    only: "bridge",
    async check(stage) {
      const ends = endsOf(stage, UNKNOWN);
      await using _server = await servePage(stage, ends);
      const before = await counted(stage);
      const name = `vlan-unknown-${family}.${DOMAIN}`;
      await fetchPage(ends, family, PAGE, name, stage.pki.root.certificate);
      assert.deepEqual(await stage.node.sessions({ sni: name }), []);
      const more = await until("the counter tagged to move", async () => (await counted(stage)) - before || undefined);
      const { kernel } = await stage.node.stats();
      const own = kernel.find(({ counts, name }) => counts === "vlan" && name === nameVlan(UNKNOWN));
      assert.ok(own && own.packets >= more, JSON.stringify(own));
      return `${more} frames counted, ${own.packets} of VLAN ${own.name}, no session`;
    },
  };
}

function carriesMuch(): Claim {
  return {
    says: "Full segments, whole and cut by the sender's hardware, fit beside one tag and beside two",
    only: "bridge",
    async check(stage) {
      await using stack = new AsyncDisposableStack();
      const folder = scratch();
      const content = randomBytes(MUCH);
      writeFileSync(join(folder, "much"), content);
      for (const tags of [TEN, DOUBLE]) {
        const ends = endsOf(stage, tags);
        await serve(stack, stage, ends, MUCH_PORT, ["-WWW"], folder);
        const file = join(folder, prefixOf(tags));
        const fetched = curl(ends, 4, MUCH_PORT, `much.${DOMAIN}`, stage.node.authorities);
        await ends.client.must("curl", [...fetched.slice(0, -1), "-o", file, `${fetched.at(-1)}much`]);
        assert.ok(readFileSync(file).equals(content));
      }
      return `${MUCH / 2 ** 20} MiB each`;
    },
  };
}

/** For a wire that has no address for frames without a tag. */
export const TRUNK_LISTENER = { ...VLAN_LISTENER, address: undefined, stop: "remove" } as const;
export const TRUNK: readonly Claim[] = [leavesUntagged(), decrypts(TWENTY, 4), hidesNothing()];

function leavesUntagged(): Claim {
  return {
    says: "Without an address for them, frames without a tag cross the bridge: the client sees the server's own certificate",
    only: "bridge",
    async check(stage) {
      await using there = await watch(stage.network.server, stage.network.server.interface, "tcp");
      const own = { ...stage, node: { ...stage.node, authorities: stage.pki.root.certificate } };
      for (const family of FAMILIES) await fetchDecrypted(own, family, PORTS.https);
      await there.shows("both connections", (frames) => {
        const syns = segmentsOf(frames, PORTS.https).filter(({ flags }) => flags === "S");
        return syns.length === FAMILIES.length ? syns : undefined;
      });
      assert.deepEqual(await stage.node.sessions(), []);
      return "no session";
    },
  };
}

function dropsInOne(): Claim {
  return {
    says: "A drop rule that names a VLAN drops there, and nowhere else",
    only: "bridge",
    async check(stage) {
      await using stack = new AsyncDisposableStack();
      const codes = [];
      for (const tags of CONFIGURED) {
        const ends = endsOf(stage, tags);
        await serve(stack, stage, ends, DROPPED_IN_TWENTY, ["-www"]);
        const fetched = curl(ends, 4, DROPPED_IN_TWENTY, `drop.${DOMAIN}`, stage.node.authorities);
        codes.push((await ends.client.run("curl", fetched)).code);
      }
      // 7: curl could not connect.
      assert.deepEqual(codes, [0, 7, 0, 0]);
      const explained = await stage.node.command(
        "explain",
        "--vlan",
        "20",
        "--server",
        `10.4.0.3:${DROPPED_IN_TWENTY}`,
      );
      assert.match(explained.stdout, /^drop, in the network phase, by not in 20/);
      return "refused in 20 alone, and explained";
    },
  };
}

function passesOthers(): Claim {
  return {
    says: "What is not TCP in a VLAN of the node's crosses bit for bit, with the priority of its tags",
    only: "bridge",
    async check(stage) {
      const sent: string[] = [];
      await using there = await watch(stage.network.server, stage.network.server.interface, "");
      for (const tags of CONFIGURED) {
        const { client, server } = endsOf(stage, tags);
        const way = { source: await hardware(client, "vlan"), next: await hardware(server, "vlan") };
        const frames: Buffer[] = [];
        for (const priority of [0, 5, 7]) {
          const frame = udpFrame(
            client.address[4],
            server.address[4],
            `priority ${priority} in ${nameVlan(tags)}`,
            way,
          );
          const tagged = Buffer.concat([frame.subarray(0, 12), tagWords(tags, priority), frame.subarray(12)]);
          frames.push(tagged);
        }
        // One more tag inside, of which the node is told nothing.
        const udp = udpFrame(client.address[4], server.address[4], `inside ${nameVlan(tags)}`, way);
        const stacked = Buffer.concat([tagWords(tags, 3), tagWords({ id: 5 }, 6)]);
        frames.push(Buffer.concat([udp.subarray(0, 12), stacked, udp.subarray(12)]));
        await sendFrames(client, frames);
        sent.push(...frames.map((frame) => frame.toString("hex")));
      }
      for (const frame of sent) {
        await there.shows("the frame", (seen) => seen.find(({ bytes }) => bytes.toString("hex") === frame));
      }
      return `${sent.length} frames`;
    },
  };
}

function hidesNothing(): Claim {
  return {
    says: "TCP of a VLAN of the node's cannot hide behind priority tags: it is dropped and counted; what is not TCP passes",
    only: "bridge",
    async check(stage) {
      await using there = await watch(stage.network.server, stage.network.server.interface, "");
      const impossible = async () =>
        (await stage.node.stats()).kernel.find(({ counts }) => counts === "impossible")?.packets ?? 0;
      const before = await impossible();
      const hidden = [
        [TEN, [0, 10]],
        [TEN, [0, 0, 10]],
        [DOUBLE, [0, 100, 10]],
        [DOUBLE, [100, 0, 10]],
      ] as const;
      for (const [index, [vlan, tags]] of hidden.entries()) {
        const { client, server } = endsOf(stage, vlan);
        const way = { source: await hardware(client, "vlan"), next: await hardware(server, "vlan") };
        const [from, to] = [client.address[4], server.address[4]];
        const type = tags[0] === 100 ? TAG_TYPES["802.1ad"] : TAG_TYPES["802.1Q"];
        const syn = tcpFrame({ from, to, source: 24_500 + index, target: 443 }, way);
        const behind = withTags(udpFrame(from, to, `behind ${tags.join("/")}`, way), tags, type);
        await sendFrames(client, [withTags(syn, tags, type), behind]);
        const seen = await there.shows("the datagram behind it", (frames) =>
          frames.some(({ bytes }) => bytes.equals(behind)) ? frames : undefined,
        );
        assert.ok(!seen.some(({ bytes }) => bytes.includes(syn.subarray(14 + 20, 14 + 28))), tags.join("/"));
      }
      const dropped = await until("the count", async () => {
        const more = (await impossible()) - before;
        return more >= hidden.length && more;
      });
      return `${dropped} SYNs dropped`;
    },
  };
}

function untagged(): Claim {
  return {
    says: "Beside its VLANs, the wire's frames without a tag are decrypted as ever",
    only: "bridge",
    async check(stage) {
      const pages = [];
      for (const family of FAMILIES) pages.push((await fetchDecrypted(stage, family, PORTS.https)).trim());
      return pages.join(", ");
    },
  };
}

function absentHost(): Claim {
  return {
    says: "A host that is absent from a VLAN is unreachable to its clients, as without the node",
    only: "bridge",
    async check(stage) {
      const { client } = endsOf(stage, TEN);
      const { stderr } = await client.run("curl", ["-sv", "-m", "20", "https://10.4.0.99/"]);
      assert.match(stderr, /No route to host/);
      return "No route to host";
    },
  };
}

/** The last of these: it kills the node. */
function leaves(): Claim {
  return {
    says: "A killed node's VLANs pass, a start takes them over as they are, and `inline undo` leaves nothing",
    only: "bridge",
    async check(stage) {
      const { network, pki, before, node } = stage;
      const ends = endsOf(stage, TEN);
      await using _server = await servePage(stage, ends);
      const index = () => network.node.must("cat", ["/sys/class/net/clva1/ifindex"]);
      const [link, programs] = [await index(), programsOn(network)];
      node.kill(node.pids());
      await node.process.ended;
      await fetchPage(ends, 4, PAGE, `vlan-killed.${DOMAIN}`, pki.root.certificate);
      const trust = [pki.root.certificate];
      await using second = await startNode({ network, trust, folder: node.folder, asItIs: true });
      assert.deepEqual([await index(), programsOn(network)], [link, programs]);
      await fetchPage(ends, 4, PAGE, `vlan-again.${DOMAIN}`, second.authorities);
      assert.equal((await second.stop()).code, 0, second.process.output());
      const { code, stderr } = await second.command("inline", "undo");
      assert.equal(code, 0, stderr);
      assert.deepEqual(await describeSetup(network.node), before);
      assert.deepEqual(programsOn(network), [[], []]);
      return `${programs.flat().length} programs at the wires, taken over and removed`;
    },
  };
}
