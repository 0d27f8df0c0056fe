import { programsAt } from "../src/linux/bpf.ts";
import { within } from "../src/linux/netns.ts";
import { readLink } from "../src/linux/routes.ts";
import { nameVlan, TAG_TYPES, type VlanTags } from "../src/linux/vlan-programs.ts";
import type { Program } from "../test/processes.ts";
import type { Stage } from "./claim.ts";
import type { Family, Network } from "./network.ts";
import { addVlanHosts, VLAN_ADDRESSES, type VlanEnds } from "./vlan-hosts.ts";
import type { Wire } from "./wire.ts";

/** The VLANs of the lab's wire, their servers, and what the claims about them look at. */

export const TEN: VlanTags = { id: 10 };
export const TWENTY: VlanTags = { id: 20 };
export const DOUBLE: VlanTags = { id: 10, outer: { id: 100, type: "802.1ad" } };
/** Both tags of the same type. */
export const SAME_TYPE: VlanTags = { id: 20, outer: { id: 200, type: "802.1Q" } };
export const CONFIGURED = [TEN, TWENTY, DOUBLE, SAME_TYPE];
/** The node is told nothing of it. */
export const UNKNOWN: VlanTags = { id: 40 };

/** The servers' ports: a page; a dialogue; dropped in one VLAN; a large file. */
export const PAGE = 443;
export const DIALOGUE = 4434;
export const DROPPED_IN_TWENTY = 4435;
export const MUCH_PORT = 4436;
export const MUCH = 8 * 2 ** 20;

/** Equal in all of them. */
export const PLACE = { address: VLAN_ADDRESSES.node };
const hosts = new WeakMap<Network, readonly VlanEnds[]>();

export async function addVlans(network: Network): Promise<void> {
  if (network.topology === "bridge") hosts.set(network, await addVlanHosts(network, [...CONFIGURED, UNKNOWN]));
}

export function endsOf({ network }: Stage, tags: VlanTags): VlanEnds {
  const ends = hosts.get(network)?.find((one) => one.tags === tags);
  if (!ends) throw new Error(`The lab has no hosts in VLAN ${nameVlan(tags)}`);
  return ends;
}

export function prefixOf(tags: VlanTags): string {
  return `in${nameVlan(tags).replace("/", "q")}`;
}

export async function serve(
  stack: AsyncDisposableStack,
  { pki }: Stage,
  { tags, server }: VlanEnds,
  port: number,
  more: readonly string[],
  cwd?: string,
): Promise<Program> {
  const { certificate, key } = pki.server.ecdsa;
  const own = ["-accept", `${port}`, "-id_prefix", prefixOf(tags), "-cert", certificate, "-key", key];
  const program = server.start("openssl", ["s_server", ...own, ...more], cwd === undefined ? {} : { cwd });
  stack.defer(async () => void (await program.stop()));
  await program.shows(/ACCEPT/);
  return program;
}

export async function servePage(stage: Stage, ends: VlanEnds): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  await serve(stack, stage, ends, PAGE, ["-www"]);
  return stack;
}

export function fetchPage(
  ends: VlanEnds,
  family: Family,
  port: number,
  name: string,
  authorities: string,
): Promise<string> {
  return ends.client.must("curl", curl(ends, family, port, name, authorities));
}

export function curl({ server }: VlanEnds, family: Family, port: number, name: string, authorities: string): string[] {
  const to = ["--resolve", `${name}:${port}:${bracketed(server.address[family])}`, `https://${name}:${port}/`];
  return ["-sS", "--fail", "-m", "20", "--cacert", authorities, ...to];
}

export function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

/** The tags, with what is between them, of every TCP frame to or from this port: each combination once. */
export async function tagsOf(wire: Wire, port: number): Promise<string[]> {
  const { from, to } = await tagsBothWays(wire, port);
  return [...new Set([...from, ...to])];
}

/** The same, of the frames from this port, and of those to it. */
export function tagsBothWays(wire: Wire, port: number): Promise<{ readonly from: string[]; readonly to: string[] }> {
  return wire.shows("the connection", (frames) => {
    const [from, to] = [new Set<string>(), new Set<string>()];
    for (const { bytes } of frames) {
      const at = afterTags(bytes);
      const isV6 = bytes.readUInt16BE(at - 2) === 0x86dd;
      const isIp = isV6 || bytes.readUInt16BE(at - 2) === 0x0800;
      if (!isIp || bytes[at + (isV6 ? 6 : 9)] !== 6) continue;
      const tcp = at + (isV6 ? 40 : 20);
      const tags = bytes.toString("hex", 12, at - 2);
      if (bytes.readUInt16BE(tcp) === port) from.add(tags);
      else if (bytes.readUInt16BE(tcp + 2) === port) to.add(tags);
    }
    return from.size > 0 && to.size > 0 ? { from: [...from], to: [...to] } : undefined;
  });
}

/** Where the payload begins. */
function afterTags(bytes: Buffer): number {
  let at = 14;
  const types: readonly number[] = Object.values(TAG_TYPES);
  while (types.includes(bytes.readUInt16BE(at - 2))) at += 4;
  return at;
}

export function tagBytes(tags: VlanTags): string {
  return tagWords(tags, 0, 0).toString("hex");
}

/** Each tag with a priority of its own. */
export function tagWords({ id, outer }: VlanTags, priority: number, outerPriority = 7 - priority): Buffer {
  const tag = (type: number, vlan: number, pcp: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt16BE(type, 0);
    bytes.writeUInt16BE((pcp << 13) | vlan, 2);
    return bytes;
  };
  const inner = tag(TAG_TYPES["802.1Q"], id, priority);
  return outer ? Buffer.concat([tag(TAG_TYPES[outer.type], outer.id, outerPriority), inner]) : inner;
}

export async function counted({ node }: Stage): Promise<number> {
  const { kernel } = await node.stats();
  return kernel.filter(({ counts }) => counts === "tagged").reduce((sum, { packets }) => sum + packets, 0);
}

export function programsOn({ node }: Network): (readonly number[])[] {
  return within(node.namespace, () =>
    [node.networkA, node.networkB].map((name) => programsAt(readLink(name)?.index ?? 0, "ingress")),
  );
}
