import { attachProgram } from "../src/linux/bpf.ts";
import { within } from "../src/linux/netns.ts";
import { readLink } from "../src/linux/routes.ts";
import { steerVlan, tagVlan, untagVlan, type VlanTags } from "../src/linux/vlan-programs.ts";
import { addHost, type End, type Family, type Network } from "./network.ts";

/** A client and a server in one VLAN, on the lab's wire. */
export interface VlanEnds {
  readonly tags: VlanTags;
  readonly client: End;
  readonly server: End;
}

/** The same addresses in every VLAN. */
export const VLAN_ADDRESSES = {
  client: { 4: "10.4.0.2", 6: "fd00:4::2" },
  server: { 4: "10.4.0.3", 6: "fd00:4::3" },
  node: ["10.4.0.254/24", "fd00:4::fe/64"],
} as const satisfies Readonly<Record<"client" | "server", Readonly<Record<Family, string>>>> & {
  node: readonly string[];
};

const SWITCH = "clt-switch";
const DETECTION = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"];

/**
 * Adds a client and a server to each VLAN. The lab's own client and server become switches, which know nothing of tags: the hosts
 * of the VLANs tag their frames themselves.
 */
export async function addVlanHosts(network: Network, vlans: readonly VlanTags[]): Promise<readonly VlanEnds[]> {
  for (const end of [network.client, network.server]) await becomeSwitch(end);
  const all: VlanEnds[] = [];
  for (const [index, tags] of vlans.entries()) {
    const [client, server] = [
      await addEnd(network.client, `c${index}`, tags, VLAN_ADDRESSES.client),
      await addEnd(network.server, `s${index}`, tags, VLAN_ADDRESSES.server),
    ];
    all.push({ tags, client, server });
  }
  return all;
}

async function becomeSwitch(end: End): Promise<void> {
  const ip = (...words: string[]) => end.must("ip", words);
  await ip("link", "add", SWITCH, "type", "bridge");
  await ip("address", "flush", "dev", end.interface, "scope", "global");
  await ip("link", "set", end.interface, "master", SWITCH);
  await ip("link", "set", SWITCH, "up");
  await ip("address", "add", `${end.address[4]}/24`, "dev", SWITCH);
  await ip("-6", "address", "add", `${end.address[6]}/64`, "dev", SWITCH);
}

async function addEnd(at: End, name: string, tags: VlanTags, address: Readonly<Record<Family, string>>): Promise<End> {
  const [port, wire, own] = [`clt-${name}`, "wire", "vlan"];
  const host = await addHost(name);
  const ip = (...words: string[]) => host.must("ip", words);
  await host.must("sysctl", ["-qw", ...DETECTION]);
  await at.must("ip", ["link", "add", port, "type", "veth", "peer", "name", wire, "netns", host.namespace]);
  await at.must("ip", ["link", "set", port, "master", SWITCH, "up"]);
  await ip("link", "add", own, "type", "veth", "peer", "name", "other");
  for (const link of [wire, own, "other"]) await ip("link", "set", link, "up");
  await ip("address", "add", `${address[4]}/24`, "dev", own);
  await ip("-6", "address", "add", `${address[6]}/64`, "dev", own);
  within(host.namespace, () => {
    const [outside, inside] = [wire, own].map((link) => readLink(link)?.index ?? 0) as [number, number];
    attachProgram(inside, "ingress", "lab_untag", untagVlan(tags));
    attachProgram(inside, "egress", "lab_tag", tagVlan(tags, outside));
    attachProgram(outside, "ingress", "lab_steer", steerVlan(tags, inside));
  });
  return { ...host, interface: wire, address };
}
