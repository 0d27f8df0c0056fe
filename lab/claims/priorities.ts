import assert from "node:assert/strict";
import { attachProgram, detachProgram } from "../../src/linux/bpf.ts";
import { call, END_IF_NOT_OURS, HELPER, inNetworkOrder, R2, R3, set } from "../../src/linux/frame-instructions.ts";
import { within } from "../../src/linux/netns.ts";
import { readLink } from "../../src/linux/routes.ts";
import { CAME_TAGGED, nameVlan, TAG_TYPES, type VlanTags } from "../../src/linux/vlan-programs.ts";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { type End, FAMILIES, type Family } from "../network.ts";
import { PORTS } from "../servers.ts";
import { DOUBLE, endsOf, fetchPage, PAGE, servePage, TEN, tagsBothWays, tagWords } from "../vlan-stage.ts";
import { watch } from "../wire.ts";
import { fetchDecrypted } from "./traffic.ts";

/** The priorities of tags (IEEE 802.1Q: PCP) of connections that are decrypted. */

export const PRIORITY_TAGS: readonly Claim[] = FAMILIES.map(keepsPriorityTags);
export const VLAN_PRIORITIES: readonly Claim[] = [TEN, DOUBLE].map(keepsPriorityInVlan);

function keepsPriorityTags(family: Family): Claim {
  return {
    says: `IPv${family}: a decrypted connection keeps its priority tags (VLAN 0) on both sides, those of each direction`,
    only: "bridge",
    async check(stage) {
      const { client, server } = stage.network;
      await using here = await watch(client, client.interface, "");
      await using there = await watch(server, server.interface, "");
      using _ofClient = tagAll(client, 5);
      using _ofServer = tagAll(server, 3);
      const since = Date.now();
      await fetchDecrypted(stage, family, PORTS.https);
      const session = await sessionSince(stage, since, client.address[family], PORTS.https);
      for (const wire of [here, there]) {
        assert.deepEqual(await tagsBothWays(wire, session.port), { from: ["8100a000"], to: ["81006000"] });
      }
      return `${session.verdict}; priority 5 to the server, 3 to the client`;
    },
  };
}

/** What leaves by this end's interface gets a tag. */
function tagAll(end: End, priority: number): Disposable {
  const program = [
    set(R2, inNetworkOrder(TAG_TYPES["802.1Q"])),
    set(R3, priority << 13),
    call(HELPER.VLAN_PUSH),
    ...END_IF_NOT_OURS,
  ];
  const index = () => readLink(end.interface)?.index ?? 0;
  const number = within(end.namespace, () => attachProgram(index(), "egress", "lab_priority", program));
  return { [Symbol.dispose]: () => within(end.namespace, () => detachProgram(index(), "egress", number)) };
}

function keepsPriorityInVlan(tags: VlanTags): Claim {
  return {
    says: `A decrypted connection keeps the priority of its tags in VLAN ${nameVlan(tags)}, those of each direction`,
    only: "bridge",
    async check(stage) {
      const { client, server } = stage.network;
      const ends = endsOf(stage, tags);
      await using here = await watch(client, client.interface, "");
      await using there = await watch(server, server.interface, "");
      await using _server = await servePage(stage, ends);
      await using _ofClient = await prioritise(ends.client, tags, 5);
      await using _ofServer = await prioritise(ends.server, tags, 3);
      const since = Date.now();
      const name = `priority-${nameVlan(tags).replace("/", "-")}.${DOMAIN}`;
      await fetchPage(ends, 4, PAGE, name, stage.node.authorities);
      const session = await sessionSince(stage, since, ends.client.address[4], PAGE);
      const [from, to] = [5, 3].map((priority) => [tagWords(tags, priority).toString("hex")]);
      for (const wire of [here, there]) assert.deepEqual(await tagsBothWays(wire, session.port), { from, to });
      return `${session.verdict}; ${from} to the server, ${to} to the client`;
    },
  };
}

/** The lab's hosts write the priority of a packet into their tags. */
async function prioritise(end: End, tags: VlanTags, priority: number): Promise<AsyncDisposable> {
  const own = tagWords(tags, priority);
  const outer = tags.outer ? own.readUInt16BE(2) >> 12 : 0;
  const inner = own.readUInt16BE(own.length - 2) >> 12;
  const value = (CAME_TAGGED | (outer << 4) | inner).toString(16).padStart(8, "0");
  const table = "inet lab-priority";
  const rule = `meta priority set ${value.slice(0, 4)}:${value.slice(4)}`;
  const hook = "type filter hook postrouting priority 0;";
  await end.must("nft", ["-f", "-"], { input: `table ${table} {\nchain leaving {\n${hook}\n${rule}\n}\n}\n` });
  return { [Symbol.asyncDispose]: async () => void (await end.must("nft", ["delete", "table", ...table.split(" ")])) };
}

async function sessionSince(stage: Stage, since: number, from: string, port: number) {
  const session = await until("the session", async () =>
    (await stage.node.sessions()).find(
      ({ client, server, start, verdict }) =>
        start >= since && client.address === from && server?.port === port && verdict !== null,
    ),
  );
  assert.equal(session.verdict, "decrypt");
  return { verdict: session.verdict, port: session.client.port };
}
