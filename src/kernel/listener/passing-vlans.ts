import type { Count } from "../../linux/nftables.ts";
import { type Lane, type PassingSet, vlanOf } from "./lane.ts";
import { chain } from "./rule-writing.ts";

/**
 * Which VLANs cross a bridge without being named in the configuration: a set of their tags, with a counter for each. Anybody on the
 * wire chooses the tags of its frames, so the set is small: further VLANs are counted together only.
 */

/** One VLAN, as nft names it: the type of its tag, and its id. */
export interface PassingVlan extends Count {
  readonly type: string;
  readonly id: number;
}

export function passingSet(lane: Lane): PassingSet {
  return { set: `vlans-${lane.index}`, listener: lane.listener.name, vlan: vlanOf(lane) };
}

export function passingSets(lane: Lane): string[] {
  const { set } = passingSet(lane);
  return [`set ${set} {`, ...["  typeof ether type . vlan id", "  flags dynamic", "  counter", "  size 64"], "}"];
}

/** Notes a frame's tag. When the set is full, or the VLAN is 0, the frame goes on without a note. */
export function passingChain(lane: Lane): string[] {
  const { set } = passingSet(lane);
  return chain(
    set,
    ["8021q", "8021ad"].map((type) => `ether type ${type} vlan id != 0 update @${set} { ether type . vlan id }`),
  );
}

/** What people call it: "40", "802.1ad 100"; with the VLAN in which it is, "10/40". */
export function namePassing({ vlan }: PassingSet, { type, id }: PassingVlan): string {
  const own = type === "8021ad" ? `802.1ad ${id}` : `${id}`;
  return vlan === null ? own : `${vlan}/${own}`;
}

/** The new ruleset, with the VLANs of the old one and their counts. */
export function carryPassing(nft: string, set: string, vlans: readonly PassingVlan[]): string {
  if (vlans.length === 0) return nft;
  const elements = vlans.map(({ type, id, packets, bytes }) => {
    return `${type} . ${id} counter packets ${packets} bytes ${bytes}`;
  });
  return nft.replace(`  set ${set} {\n`, (line) => `${line}    elements = { ${elements.join(", ")} }\n`);
}
