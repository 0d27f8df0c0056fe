import { InvariantError } from "../../errors.ts";
import { type AddressBlock, blocksOf } from "../../policy/address-set.ts";
import { hex } from "../../vocabulary.ts";
import type { Step } from "../step.ts";
import type { Lane, PlanInput } from "./lane.ts";
import { CODE, LOCAL_KIND, markOf, OF_LANE } from "./marks.ts";

/** What is for our sockets stays here, whatever its address: by its mark and where it comes in, and not when it goes out. */
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
        why: `…and what comes in by ${link} for them`,
      }),
    ),
  ]);
}

/** Behind whatever other route there is. */
const LAST_RESORT = "4294967295";

/** A bridge's routes are its own: what this machine is managed by never carries a client's traffic. */
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
      ...listener.addresses.filter(own).map((address) => route("its own network", [networkOf(address).text])),
      ...listener.routes
        .filter(({ via }) => own(via))
        .map(({ to, via }) => route("a network behind a router on it", [networkOf(to).text, "via", via], "onlink")),
      ...listener.gateways.filter(own).map((via) => route("all else", ["default", "via", via], "onlink")),
      {
        kind: "command",
        why: `${listener.name}: what no route leads to is unreachable, however this machine itself would get there`,
        run: ["ip", `-${family}`, "route", "add", ...nowhere],
        undo: ["ip", `-${family}`, "route", "del", ...nowhere],
        check: ["ip", `-${family}`, "route", "show", "table", `${table}`, "type", "unreachable", "default"],
      },
      routingRule({
        ...{ family, mark, mask, table, priority: rulePriority + 1 },
        why: `${listener.name}: only what the bridge carries is routed by these`,
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

/** Packets whose mark, under the mask, is this one are this machine's own, whatever their address: the table says so. */
export function localDelivery(options: {
  readonly family: 4 | 6;
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
  /** Among the routing rules: lower is asked earlier. */
  readonly priority: number;
}): readonly Step[] {
  const { family, table } = options;
  const flag = `-${family}`;
  const route = ["local", "default", "dev", "lo", "table", `${table}`];
  return [
    {
      kind: "command",
      why: `Every IPv${family} address is local in a table of its own…`,
      run: ["ip", flag, "route", "add", ...route],
      undo: ["ip", flag, "route", "del", ...route],
      check: ["ip", flag, "route", "show", "table", `${table}`, "type", "local", "default"],
    },
    routingRule({ ...options, why: "…which only the packets that belong to Clearline's sockets are sent to" }),
  ];
}

/** Packets whose mark, under the mask, is this one are routed by this table; `from`: only those that come in by that interface. */
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
