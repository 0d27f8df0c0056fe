import { hex } from "../../vocabulary.ts";
import type { Step } from "../step.ts";
import type { Lane, PlanInput } from "./lane.ts";
import { CODE, markOf } from "./marks.ts";
import { deliverySteps, routeSteps } from "./routing.ts";

/** The steps that set the kernel up for these listeners, in order. */
export function listSteps(
  lanes: readonly Lane[],
  input: PlanInput,
  rules: { readonly nft: string; readonly mask: number },
): Step[] {
  return [
    ...lanes.flatMap(bridgeSteps),
    ...reflectSteps(input),
    ...lanes.flatMap((lane) => settingSteps(lane, input)),
    ...rulesetSteps(rules.nft),
    ...holdSteps(lanes, input, rules.mask),
    ...deliverySteps(lanes, input, rules.mask),
    ...lanes.flatMap((lane) => routeSteps(lane, input)),
    // Last: only now does traffic flow through a bridge, and meets the rules.
    ...lanes.flatMap(cableSteps),
  ];
}

function bridgeSteps({ bridge, listener }: Lane): Step[] {
  if (bridge === undefined) return [];
  const { name, mac } = bridge;
  // 0xfff8: LLDP, 802.1X and the like cross too, which a switch would keep; the kernel allows all but STP, pause and LACP.
  const options = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0", "group_fwd_mask", "0xfff8"];
  return [
    {
      kind: "command",
      why: `${listener.name}: the bridge between ${listener.networkA} and ${listener.networkB}, which changes nothing by itself`,
      run: ["ip", "link", "add", name, "address", mac, "type", "bridge", ...options],
      undo: ["ip", "link", "del", name],
      check: ["ip", "link", "show", "dev", name, "type", "bridge"],
    },
    ...listener.addresses.map(
      (address): Step => ({
        kind: "command",
        why: `${listener.name}: its own address, so that the node has a route and ARP toward both sides`,
        run: ["ip", "address", "add", address, "dev", name, ...(address.includes(":") ? ["nodad"] : [])],
        check: ["ip", "address", "show", "dev", name, "to", address],
      }),
    ),
    { kind: "link-up", why: `${listener.name}: the bridge is up, and has no port yet`, name },
  ];
}

function reflectSteps({ features }: PlanInput): Step[] {
  const families = features.ipv6 ? (["ipv4", "ipv6"] as const) : (["ipv4"] as const);
  return families.map((family) => ({
    kind: "sysctl",
    why: "what the kernel itself answers has the mark of what it answers, by which it is routed and told from the rest",
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
    set(
      `net/bridge/bridge-nf-call-${table}`,
      "0",
      "bridged frames meet the rules of IP once they are lifted, not twice",
      { optional: true },
    );
  return [
    ...links.map((link) => set(`net/ipv4/conf/${link}/forwarding`, "1", "what is not intercepted is forwarded")),
    ...(features.ipv6 ? forwardV6(links, features.forceForwarding, set) : []),
    ...(bridge === undefined
      ? []
      : [
          ...["iptables", "ip6tables", "arptables"].map(bridged),
          set(
            `net/ipv4/conf/${bridge.name}/rp_filter`,
            "2",
            "both ends' addresses come in here: loose, whatever the switch of all says",
          ),
          set(`net/ipv4/conf/${bridge.name}/src_valid_mark`, "1", "and they are looked up in the bridge's own routes"),
          set(`net/ipv4/conf/${bridge.name}/arp_ignore`, "1", "this machine's other addresses are not to be seen here"),
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
  const why = "the same for IPv6: this kernel has only the one switch of all interfaces";
  return [set("net/ipv6/conf/all/forwarding", "1", why, { alongside: "net/ipv6/conf/*/forwarding" })];
}

/** Removes both tables, whether they are there or not. */
const EMPTY = ["inet", "bridge"]
  .map((family) => `table ${family} clearline\ndelete table ${family} clearline\n`)
  .join("");

function rulesetSteps(nft: string): Step[] {
  const why = "The rules, in tables of Clearline's own: replaced whole, in one transaction";
  return [{ kind: "command", why, run: ["nft", "-f", "-"], input: nft, undo: ["nft", "-f", "-"], undoInput: EMPTY }];
}

/** Where nft cannot queue, iptables-nft can: the same marks, in a chain of Clearline's own. */
function holdSteps(lanes: readonly Lane[], input: PlanInput, mask: number): Step[] {
  if (input.features.nftQueue || !lanes.some(({ queues }) => queues.length > 0)) return [];
  const families = input.features.ipv6 ? (["ip", "ip6"] as const) : (["ip"] as const);
  return families.flatMap((family): Step[] => {
    const raw = (...args: string[]) => [`${family}tables-nft` as const, "-t", "raw", ...args] as const;
    const queue = (lane: Lane, worker: number, number: number): Step => {
      const mark = `${hex(markOf(CODE.HELD + worker, input.markShift))}/${hex(mask)}`;
      const rule = ["-i", lane.bridge?.name ?? lane.listener.networkA, "-p", "tcp", "-m", "mark", "--mark", mark];
      const target = ["-j", "NFQUEUE", "--queue-num", `${number}`, "--queue-bypass"];
      return {
        kind: "command",
        why: `${lane.listener.name}: SYNs of worker ${worker} wait in queue ${number}, or go on when it does not listen`,
        run: raw("-A", "CLEARLINE-SYN", ...rule, ...target),
        undo: raw("-D", "CLEARLINE-SYN", ...rule, ...target),
        check: raw("-v", "-C", "CLEARLINE-SYN", ...rule, ...target),
      };
    };
    return [
      {
        kind: "hold-table",
        why: `This kernel has no nft queue: iptables-nft's is used (table ${family} raw, made where there is none)`,
        family,
      },
      {
        kind: "command",
        why: "A chain of Clearline's own",
        run: raw("-N", "CLEARLINE-SYN"),
        undo: raw("-X", "CLEARLINE-SYN"),
        check: raw("-S", "CLEARLINE-SYN"),
      },
      ...lanes.flatMap((lane) => lane.queues.map((number, worker) => queue(lane, worker, number))),
      {
        kind: "command",
        why: "Every packet passes by it; only those that Clearline has marked stop",
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
    { kind: "link-up", why: `${listener.name}: traffic flows`, name: port },
  ]);
}
