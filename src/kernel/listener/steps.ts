import { hex } from "../../vocabulary.ts";
import type { Step } from "../step.ts";
import type { Lane, PlanInput } from "./lane.ts";
import { CODE, markOf } from "./marks.ts";
import { deliverySteps, routeSteps } from "./routing.ts";
import { clientLinks } from "./rules.ts";
import { priorityTagSteps, vlanLinkSteps, vlanProgramSteps } from "./vlan-steps.ts";

/** The steps that set the kernel up for these listeners, in order. */
export function listSteps(
  lanes: readonly Lane[],
  input: PlanInput,
  rules: { readonly nft: string; readonly mask: number },
): Step[] {
  return [
    ...lanes.flatMap((lane) => [...vlanLinkSteps(lane), ...bridgeSteps(lane)]),
    ...reflectSteps(input),
    ...lanes.flatMap((lane) => settingSteps(lane, input)),
    ...rulesetSteps(rules.nft),
    ...holdSteps(lanes, input, rules.mask),
    ...deliverySteps(lanes, input, rules.mask),
    ...lanes.flatMap((lane) => routeSteps(lane, input)),
    // Last, so that no traffic flows through a bridge before its rules are there.
    ...lanes.flatMap((lane) => [...priorityTagSteps(lane, input), ...cableSteps(lane), ...vlanProgramSteps(lane)]),
  ];
}

function bridgeSteps({ bridge, listener }: Lane): Step[] {
  if (bridge === undefined) return [];
  const { name, mac } = bridge;
  // 0xfff8: forward LLDP, 802.1X and other link-local groups too. Without STP of its own, the bridge forwards that as well.
  const options = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0", "group_fwd_mask", "0xfff8"];
  return [
    {
      kind: "command",
      why: `${listener.name}: the bridge between ${listener.networkA} and ${listener.networkB}; by itself it forwards frames unchanged`,
      run: ["ip", "link", "add", name, "address", mac, "type", "bridge", ...options],
      undo: ["ip", "link", "del", name],
      check: ["ip", "link", "show", "dev", name, "type", "bridge"],
    },
    ...listener.addresses.map(
      (address): Step => ({
        kind: "command",
        why: `${listener.name}: the bridge's own address, which gives the node a route and ARP toward both sides`,
        run: ["ip", "address", "add", address, "dev", name, ...(address.includes(":") ? ["nodad"] : [])],
        check: ["ip", "address", "show", "dev", name, "to", address],
      }),
    ),
    { kind: "link-up", why: `${listener.name}: set the bridge up; it has no port yet`, name },
  ];
}

function reflectSteps({ features }: PlanInput): Step[] {
  const families = features.ipv6 ? (["ipv4", "ipv6"] as const) : (["ipv4"] as const);
  return families.map((family) => ({
    kind: "sysctl",
    why: "the kernel copies a packet's mark into its own reply, and the reply is routed by it",
    key: `net/${family}/fwmark_reflect`,
    value: "1",
  }));
}

function settingSteps({ listener, bridge }: Lane, { features }: PlanInput): Step[] {
  const links = bridge === undefined ? [listener.networkA, listener.networkB] : [bridge.name];
  const set = (key: string, value: string, why: string, more: { optional?: true; alongside?: string } = {}): Step => ({
    kind: "sysctl",
    why: `${listener.name}: ${why}`,
    key,
    value,
    ...more,
  });
  const bridged = (table: string) =>
    set(`net/bridge/bridge-nf-call-${table}`, "0", "a lifted frame meets the IP rules once, not twice", {
      optional: true,
    });
  return [
    ...links.map((link) => set(`net/ipv4/conf/${link}/forwarding`, "1", "forward packets that are not intercepted")),
    ...(features.ipv6 ? forwardV6(links, features.forceForwarding, set) : []),
    ...(bridge === undefined
      ? []
      : [
          ...["iptables", "ip6tables", "arptables"].map(bridged),
          set(
            `net/ipv4/conf/${bridge.name}/rp_filter`,
            "2",
            "packets of both ends come in here: a loose reverse path filter, whatever conf/all says",
          ),
          set(
            `net/ipv4/conf/${bridge.name}/src_valid_mark`,
            "1",
            "the reverse path is looked up in the bridge's own routes",
          ),
          set(`net/ipv4/conf/${bridge.name}/arp_ignore`, "1", "answer no ARP for this machine's other addresses"),
        ]),
  ];
}

type Set = (key: string, value: string, why: string, more?: { optional?: true; alongside?: string }) => Step;

function forwardV6(links: readonly string[], forceForwarding: boolean, set: Set): Step[] {
  if (forceForwarding) {
    return links.map((link) =>
      set(`net/ipv6/conf/${link}/force_forwarding`, "1", "the same for IPv6, on this interface only"),
    );
  }
  const why = "the same for IPv6: this kernel can switch it only for all interfaces together";
  return [set("net/ipv6/conf/all/forwarding", "1", why, { alongside: "net/ipv6/conf/*/forwarding" })];
}

/** Removes both tables, whether they are there or not. */
const EMPTY = ["inet", "bridge"]
  .map((family) => `table ${family} clearline\ndelete table ${family} clearline\n`)
  .join("");

function rulesetSteps(nft: string): Step[] {
  const why = "The rules, in Clearline's own tables, which are replaced in one transaction";
  return [{ kind: "command", why, run: ["nft", "-f", "-"], input: nft, undo: ["nft", "-f", "-"], undoInput: EMPTY }];
}

/** For kernels without nft's queue statement: iptables-nft's NFQUEUE with the same marks, in a chain of its own. */
function holdSteps(lanes: readonly Lane[], input: PlanInput, mask: number): Step[] {
  if (input.features.nftQueue || !lanes.some(({ queues }) => queues.length > 0)) return [];
  const families = input.features.ipv6 ? (["ip", "ip6"] as const) : (["ip"] as const);
  return families.flatMap((family): Step[] => {
    const raw = (...args: string[]) => [`${family}tables-nft` as const, "-t", "raw", ...args] as const;
    const queue = (lane: Lane, link: string, worker: number, number: number): Step => {
      const mark = `${hex(markOf(CODE.HELD + worker, input.markShift))}/${hex(mask)}`;
      const rule = ["-i", link, "-p", "tcp", "-m", "mark", "--mark", mark];
      const target = ["-j", "NFQUEUE", "--queue-num", `${number}`, "--queue-bypass"];
      return {
        kind: "command",
        why: `${lane.listener.name}: SYNs for worker ${worker} wait in queue ${number}, or pass while it does not read the queue`,
        run: raw("-A", "CLEARLINE-SYN", ...rule, ...target),
        undo: raw("-D", "CLEARLINE-SYN", ...rule, ...target),
        check: raw("-v", "-C", "CLEARLINE-SYN", ...rule, ...target),
      };
    };
    return [
      {
        kind: "hold-table",
        why: `This kernel has no nft queue, so iptables-nft queues the SYNs (in table ${family} raw, which is created if it is missing)`,
        family,
      },
      {
        kind: "command",
        why: "A chain of Clearline's own",
        run: raw("-N", "CLEARLINE-SYN"),
        undo: raw("-X", "CLEARLINE-SYN"),
        check: raw("-S", "CLEARLINE-SYN"),
      },
      ...lanes.flatMap((lane) =>
        clientLinks(lane).flatMap((link) => lane.queues.map((number, worker) => queue(lane, link, worker, number))),
      ),
      {
        kind: "command",
        why: "Every packet passes this chain; only packets with Clearline's mark are queued",
        run: raw("-I", "PREROUTING", "-j", "CLEARLINE-SYN"),
        undo: raw("-D", "PREROUTING", "-j", "CLEARLINE-SYN"),
        check: raw("-v", "-C", "PREROUTING", "-j", "CLEARLINE-SYN"),
      },
    ];
  });
}

function cableSteps({ bridge, listener }: Lane): Step[] {
  if (bridge === undefined) return [];
  const ports = [listener.networkA, listener.networkB];
  return ports.flatMap((port): Step[] => [
    {
      kind: "bridge-port",
      why: `${listener.name}: ${port} is a port of the bridge`,
      name: port,
      bridge: bridge.name,
    },
    {
      kind: "command",
      why: `${listener.name}: LACP crosses too, which the kernel allows for single ports only`,
      run: ["ip", "link", "set", "dev", port, "type", "bridge_slave", "group_fwd_mask", "0x4"],
      check: ["ip", "link", "show", "dev", port, "type", "bridge_slave"],
    },
    { kind: "link-up", why: `${listener.name}: set the interface up; traffic flows`, name: port },
  ]);
}
