import { nameVlan } from "../../linux/vlan-programs.ts";
import type { Step } from "../step.ts";
import type { Lane, PlanInput } from "./lane.ts";

/**
 * A VLAN's frames never reach the bridge of its wire: as they come in, a program hands them, without their tags, to an interface of
 * the VLAN's own, which is a port of the VLAN's own bridge. What leaves by that interface gets the tags, and leaves by the wire. So
 * each VLAN is a wire of its own: equal addresses in two of them do not meet.
 */

/** The VLAN's own interfaces, before its bridge is made. */
export function vlanLinkSteps(lane: Lane): Step[] {
  const { vlan } = lane.listener;
  if (vlan === undefined) return [];
  const mtu = ["mtu", `${vlan.mtu}`];
  const { name, path } = lane.listener;
  return sidesOf(lane).flatMap(({ port, wire }): Step[] => {
    // An interface without a hardware end: its other end only keeps it up.
    const other = port.replace("clv", "clw");
    return [
      {
        kind: "command",
        path,
        why: `${name}: ${port} is what VLAN ${nameVlan(vlan.tags)} on ${wire} is for the kernel`,
        run: ["ip", "link", "add", port, ...mtu, "type", "veth", "peer", "name", other, ...mtu],
        undo: ["ip", "link", "del", port],
        check: ["ip", "link", "show", "dev", port, "type", "veth"],
      },
      ...[port, other].map(
        (link): Step => ({
          kind: "sysctl",
          why: `${name}: ${link} has no IPv6 address, and sends nothing by itself`,
          key: `net/ipv6/conf/${link}/disable_ipv6`,
          value: "1",
          optional: true,
        }),
      ),
      { kind: "link-up", why: `${name}: set the other end up, so that ${port} is up`, name: other },
    ];
  });
}

/** The programs, after the VLAN's bridge is ready: from here on its frames take this way. */
export function vlanProgramSteps(lane: Lane): Step[] {
  const { vlan, name, path } = lane.listener;
  if (vlan === undefined) return [];
  const { tags } = vlan;
  const one = { kind: "frame-program", tags, path } as const;
  const vlanName = nameVlan(tags);
  return [
    ...sidesOf(lane).map(
      ({ port }): Step => ({
        ...{ ...one, program: "untag", name: port, hook: "ingress", to: port },
        why: `${name}: frames of VLAN ${vlanName} lose their tag as they come in by ${port}…`,
      }),
    ),
    // Behind what takes the tags off, and before what puts them on: programs run in the order in which they were added.
    {
      kind: "tag-memory",
      path,
      why: `${name}: …the node's own packets have the priority of those of the peer for whom they stand…`,
      names: sidesOf(lane).map(({ port }) => port),
      tags: { kind: "vlan" },
    },
    ...sidesOf(lane).map(
      ({ port, wire }): Step => ({
        ...{ ...one, program: "tag", name: port, hook: "egress", to: wire },
        why: `${name}: …and frames that leave by it get the tag, and leave by ${wire}`,
      }),
    ),
    ...sidesOf(lane).map(
      ({ port, wire }): Step => ({
        ...{ ...one, program: "steer", name: wire, hook: "ingress", to: port },
        why: `${name}: frames of VLAN ${vlanName} from ${wire} come in by ${port}`,
      }),
    ),
  ];
}

/** A bridge whose frames have no VLAN, and which takes some of them. */
export function mayHavePriorityTags({ bridge, listener, ports }: Lane): boolean {
  return bridge !== undefined && listener.vlan === undefined && ports?.length !== 0;
}

/** For frames with a priority tag (VLAN 0), which are judged like those without one. Where the kernel can do it. */
export function priorityTagSteps(lane: Lane, { features, markShift }: PlanInput): Step[] {
  if (!mayHavePriorityTags(lane) || !features.tagMemory) return [];
  const { name, path, networkA, networkB } = lane.listener;
  return [
    {
      kind: "tag-memory",
      path,
      why: `${name}: a connection that came with priority tags (VLAN 0) keeps them on both sides`,
      names: [networkA, networkB],
      tags: { kind: "priority", markShift },
    },
  ];
}

function sidesOf({ listener, wire }: Lane): readonly { readonly port: string; readonly wire: string }[] {
  if (wire === undefined) return [];
  return [
    { port: listener.networkA, wire: wire.a },
    { port: listener.networkB, wire: wire.b },
  ];
}
