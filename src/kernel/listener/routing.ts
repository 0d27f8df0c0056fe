import { InvariantError } from "../../errors.ts";
import { type AddressBlock, blocksOf } from "../../policy/address-set.ts";
import { hex } from "../../vocabulary.ts";
import type { Step } from "../step.ts";
import type { Lane, PlanInput } from "./lane.ts";
import { CODE, LOCAL_KIND, markOf, OF_LANE } from "./marks.ts";

/** Delivers packets for our sockets to this machine, whatever their address: by their mark and the interface that they come in by. */
export function deliverySteps(lanes: readonly Lane[], input: PlanInput, mask: number): readonly Step[] {
  const { features, markShift, routingTable: table, rulePriority: priority } = input;
  const families = features.ipv6 ? ([4, 6] as const) : ([4] as const);
  const local = { mark: markOf(CODE.LOCAL_A, markShift), mask: markOf(LOCAL_KIND, markShift) };
  const links = lanes.flatMap(({ bridge, listener }) => bridge?.name ?? [listener.networkA, listener.networkB]);
  return families.flatMap((family) => [
    ...localDelivery({ family, mark: markOf(CODE.UNREACHED, markShift), mask, table, priority }),
    ...links.map((link) =>
      routingRule({
        ...{ family, ...local, table, priority, from: link },
        why: `…and the packets for these sockets that come in by ${link}`,
      }),
    ),
  ]);
}

/** The metric of a route that is used when no other route matches. */
const LAST_RESORT = "4294967295";

/** A bridge has routes of its own, so that the machine's management network never carries a client's traffic. */
export function routeSteps({ index, bridge, listener }: Lane, input: PlanInput): Step[] {
  if (bridge === undefined) return [];
  const { features, markShift, routingTable, rulePriority } = input;
  const table = routingTable + 1 + index;
  const families = features.ipv6 ? ([4, 6] as const) : ([4] as const);
  const mark = markOf(OF_LANE.code + index, markShift);
  const mask = markOf(OF_LANE.mask, markShift);
  return families.flatMap((family): Step[] => {
    const own = (address: string) => networkOf(address).family === family;
    const route = (why: string, words: readonly string[], ...more: string[]): Step => ({
      kind: "command",
      why: `${listener.name}: ${why}`,
      run: ["ip", `-${family}`, "route", "add", ...words, "dev", bridge.name, ...more, "table", `${table}`],
      check: ["ip", `-${family}`, "route", "show", ...words, "dev", bridge.name, "table", `${table}`],
    });
    const nowhere = ["unreachable", "default", "metric", LAST_RESORT, "table", `${table}`];
    return [
      ...listener.addresses.filter(own).map((address) => route("the bridge's own network", [networkOf(address).text])),
      ...listener.routes
        .filter(({ via }) => own(via))
        .map(({ to, via }) =>
          route("a network behind a router on the bridge", [networkOf(to).text, "via", via], "onlink"),
        ),
      ...listener.gateways.filter(own).map((via) => route("the default route", ["default", "via", via], "onlink")),
      {
        kind: "command",
        why: `${listener.name}: addresses without a route here are unreachable, even if this machine's other routes lead there`,
        run: ["ip", `-${family}`, "route", "add", ...nowhere],
        undo: ["ip", `-${family}`, "route", "del", ...nowhere],
        check: ["ip", `-${family}`, "route", "show", "table", `${table}`, "type", "unreachable", "default"],
      },
      routingRule({
        ...{ family, mark, mask, table, priority: rulePriority + 1 },
        why: `${listener.name}: only packets of the bridge are routed by this table`,
      }),
    ];
  });
}

/** "10.3.0.254/24" is in "10.3.0.0/24". The configuration was checked: it is a subnet. */
function networkOf(subnet: string): AddressBlock {
  const [block] = blocksOf(subnet) ?? [];
  if (block === undefined) throw new InvariantError(`${subnet} is not a subnet`);
  return block;
}

/** Steps that deliver packets with this mark to this machine, whatever their address, through a routing table of their own. */
export function localDelivery(options: {
  readonly family: 4 | 6;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  /** Of the routing rule: lower priorities are looked up earlier. */
  readonly priority: number;
}): readonly Step[] {
  const { family, table } = options;
  const flag = `-${family}`;
  const route = ["local", "default", "dev", "lo", "table", `${table}`];
  return [
    {
      kind: "command",
      why: `In a routing table of its own every IPv${family} address is local…`,
      run: ["ip", flag, "route", "add", ...route],
      undo: ["ip", flag, "route", "del", ...route],
      check: ["ip", flag, "route", "show", "table", `${table}`, "type", "local", "default"],
    },
    routingRule({ ...options, why: "…and only errors for Clearline's sockets toward servers are looked up there" }),
  ];
}

/** The step for a routing rule: packets with this mark are routed by this table. `from`: only those that come in by this interface. */
export function routingRule(options: {
  readonly family: 4 | 6;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  readonly priority: number;
  readonly from?: string;
  readonly why: string;
}): Step {
  const { family, priority, table, from, why } = options;
  const mark = ["fwmark", `${hex(options.mark)}/${hex(options.mask)}`];
  const rule = ["priority", `${priority}`, ...mark, ...(from === undefined ? [] : ["iif", from]), "lookup", `${table}`];
  return {
    kind: "command",
    why,
    run: ["ip", `-${family}`, "rule", "add", ...rule],
    undo: ["ip", `-${family}`, "rule", "del", ...rule],
    check: ["ip", `-${family}`, "rule", "show", ...rule],
  };
}
