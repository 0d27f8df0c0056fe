import { ConfigError, NetworkError } from "../../errors.ts";
import { within } from "../../linux/netns.ts";
import { type Link, readLink } from "../../linux/routes.ts";
import { hex } from "../../vocabulary.ts";
import type { InsideStep, Step } from "../step.ts";
import { MARK, namespaceOf, type ToolInterfaces } from "./numbers.ts";
import { writeToolRules } from "./rules.ts";

/** The features of this kernel that tools need. */
interface Features {
  readonly nftQueue: boolean;
  readonly iptablesNft: boolean;
  readonly ipv6: boolean;
}

export interface ToolsInput {
  /** Each tool with its path in the configuration: "tools[0]". */
  readonly tools: readonly { readonly tool: ToolInterfaces; readonly path: string }[];
  /** 1 to 64. */
  readonly workers: number;
  readonly features: Features;
  /** An interface may already be in its tool's namespace, because the plan is only printed. */
  readonly standing: boolean;
}

/** Routing tables. The priorities of the rules that lead to them follow from their numbers. */
export const TABLE = { A: 101, B: 102, LOCAL: 103 } as const;
/** Layer 2: the addresses of the node's other interface, as a next hop. Its hardware address is known, so no ARP is needed. */
const OTHER_SIDE = { 4: "169.254.77.9", 6: "fe80::77:9" } as const;

/**
 * Plans what the kernel needs for the inline tools: a namespace for each, with both of its interfaces. Undoing moves the interfaces
 * back and deletes the namespace with everything else in it. Reads the interfaces, changes nothing. Throws ConfigError with the path of
 * a value that cannot be used.
 */
export function planToolSteps({ tools, workers, features, standing }: ToolsInput): readonly Step[] {
  if (!features.nftQueue && !features.iptablesNft) {
    throw new ConfigError(
      "tools",
      "Cannot set up an inline tool: the kernel has no nft queue, and iptables-nft (Debian's package iptables) is not installed",
    );
  }
  return tools.flatMap(({ tool, path }) => {
    const [a, b] = (["interfaceA", "interfaceB"] as const).map((key) => {
      const given = standing ? readGiven(tool, tool[key]) : undefined;
      return given ?? readFree(tool[key], `${path}.${key}`);
    });
    return stepsOf({ tool, path, links: { A: a!, B: b! } }, workers, features);
  });
}

/** An interface in the tool's namespace. Undefined also when a service has the namespace, which other processes cannot enter. */
function readGiven(tool: ToolInterfaces, name: string): Link | undefined {
  try {
    return within(namespaceOf(tool), () => readLink(name));
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

/** An interface of this machine that is not in use: it will be moved into the tool's namespace. */
function readFree(name: string, path: string): Link {
  const link = readLink(name);
  const refuse = (why: string) => new ConfigError(path, `Cannot give ${name} to a tool (${path}): ${why}`);
  if (link === undefined) throw refuse("there is no interface of this name");
  if (link.master !== undefined) throw refuse(`it belongs to ${link.master}`);
  const [own] = link.addresses.filter((address) => !address.startsWith("fe80:"));
  if (own !== undefined) throw refuse(`it has the address ${own}, which would be lost; remove the address first`);
  return link;
}

export const SIDES = ["A", "B"] as const;
export type Side = (typeof SIDES)[number];
type Inside = InsideStep["steps"][number];

/** A tool with its path in the configuration and its two interfaces. */
export interface PlacedTool {
  readonly tool: ToolInterfaces;
  readonly path: string;
  readonly links: Readonly<Record<Side, Link>>;
}

function stepsOf(placed: PlacedTool, workers: number, features: Features): Step[] {
  const { tool, path } = placed;
  const namespace = namespaceOf(tool);
  const inside = (why: string, steps: readonly Inside[]): Step => ({
    kind: "inside",
    path,
    why: `${tool.name}: ${why}`,
    namespace,
    steps,
  });
  return [
    {
      kind: "command",
      path,
      why: `${tool.name}: a network namespace of its own, which packets leave only through the tool`,
      run: ["ip", "netns", "add", namespace],
      undo: ["ip", "netns", "del", namespace],
    },
    ...SIDES.map((side) => moveStep(placed, side)),
    inside("the rules: a connection that comes back is paired with its session, all other packets are dropped", [
      {
        kind: "command",
        run: ["nft", "-f", "-"],
        input: writeToolRules(tool, { workers, nftQueue: features.nftQueue }),
      },
      ...(features.nftQueue ? [] : holdSteps(tool, workers, features)),
    ]),
    inside(
      "accept packets with foreign addresses, and answer ARP for its own addresses only",
      settings(tool, features),
    ),
    inside(
      "every address of a packet that comes in is local, and packets of a socket leave at the socket's own side",
      routeSteps(placed, features),
    ),
  ];
}

function moveStep({ tool, path, links }: PlacedTool, side: Side): Step {
  return {
    kind: "move-link",
    path: `${path}.interface${side}`,
    why: `${tool.name}: the interface of T${side.toLowerCase()}`,
    name: links[side].name,
    namespace: namespaceOf(tool),
  };
}

function routeSteps(placed: PlacedTool, features: Features): Inside[] {
  const { tool, path, links } = placed;
  const families = features.ipv6 ? ([4, 6] as const) : ([4] as const);
  return [
    ...SIDES.map(
      (side): Inside => ({ ...ip("link", "set", links[side].name, "up"), path: `${path}.interface${side}` }),
    ),
    ip("link", "set", "lo", "up"),
    ...SIDES.flatMap((side) => sideRoutes(placed, side, features)),
    ...families.flatMap((family) => routing(tool, family)),
  ];
}

/** For kernels without nft's queue statement: iptables-nft's NFQUEUE, after the rules that mark a SYN's owner. Without bypass, because a SYN without a verdict would be unpaired. */
function holdSteps({ interfaceB }: ToolInterfaces, workers: number, { ipv6 }: Features): Inside[] {
  const families = ipv6 ? (["iptables-nft", "ip6tables-nft"] as const) : (["iptables-nft"] as const);
  return families.flatMap((program) =>
    Array.from({ length: workers }, (_, worker): Inside => {
      const syn = ["-t", "raw", "-A", "PREROUTING", "-i", interfaceB, "-p", "tcp", "--syn"];
      const mark = ["-m", "mark", "--mark", hex(MARK.A + worker)];
      return { kind: "command", run: [program, ...syn, ...mark, "-j", "NFQUEUE", "--queue-num", `${worker}`] };
    }),
  );
}

function settings({ interfaceA, interfaceB, layer }: ToolInterfaces, { ipv6 }: Features): Inside[] {
  const set = (key: string, value: string): Inside => ({ kind: "sysctl", key: `net/${key}`, value });
  const links = [interfaceA, interfaceB];
  return [
    ...["all", "default", ...links].flatMap((link) => [
      // Packets of both ends come in on both sides; a reverse path filter would drop them.
      set(`ipv4/conf/${link}/rp_filter`, "0"),
      set(`ipv4/conf/${link}/accept_local`, "1"),
      // A client on this machine has a loopback address.
      set(`ipv4/conf/${link}/route_localnet`, "1"),
      set(`ipv4/conf/${link}/arp_ignore`, "1"),
      set(`ipv4/conf/${link}/accept_redirects`, "0"),
      set(`ipv4/conf/${link}/send_redirects`, "0"),
      set(`ipv4/conf/${link}/forwarding`, "0"),
    ]),
    // A client may use any port, and use it again while its last connection is in TIME_WAIT.
    set("ipv4/ip_unprivileged_port_start", "0"),
    set("ipv4/tcp_tw_reuse", "1"),
    // A SYN cookie would accept a connection whose SYN was not paired.
    set("ipv4/tcp_syncookies", "0"),
    set("ipv4/tcp_fwmark_accept", "0"),
    ...(ipv6
      ? links.flatMap((link) => [
          set(`ipv6/conf/${link}/disable_ipv6`, "0"),
          set(`ipv6/conf/${link}/accept_ra`, "0"),
          set(`ipv6/conf/${link}/accept_dad`, "0"),
          set(`ipv6/conf/${link}/accept_redirects`, "0"),
          // Neighbour discovery needs a link-local address; a bump in the wire has no neighbours.
          set(`ipv6/conf/${link}/addr_gen_mode`, layer === 3 ? "0" : "1"),
          set(`ipv6/conf/${link}/forwarding`, "0"),
        ])
      : []),
  ];
}

/**
 * The addresses, neighbours and routes of one side. The kernel deletes them when the interface is set down, so each of these commands
 * can be repeated.
 */
export function sideRoutes({ tool, path, links }: PlacedTool, side: Side, { ipv6 }: Pick<Features, "ipv6">): Inside[] {
  const { name } = links[side];
  const [addresses, gateways] = side === "A" ? [tool.addressA, tool.gatewayA] : [tool.addressB, tool.gatewayB];
  const families = ipv6 ? ([4, 6] as const) : ([4] as const);
  const isOf = (address: string, family: 4 | 6) => address.includes(":") === (family === 6);
  return families.flatMap((family): Inside[] => {
    const of = (...args: string[]) => ip(`-${family}`, ...args);
    const nodad = family === 6 ? ["nodad"] : [];
    const own = addresses.filter((address) => isOf(address, family));
    const gateway = tool.layer === 3 ? gateways.find((one) => isOf(one, family)) : OTHER_SIDE[family];
    const other = links[side === "A" ? "B" : "A"].mac;
    const [table, via] = [`${TABLE[side]}`, ["dev", name, "onlink"]];
    return [
      ...own.map((address) => ({
        ...of("address", "replace", address, "dev", name, ...nodad),
        path: `${path}.address${side}`,
      })),
      ...(tool.layer === 2
        ? [of("neigh", "replace", OTHER_SIDE[family], "lladdr", other, "dev", name, "nud", "permanent")]
        : []),
      ...(gateway === undefined
        ? []
        : [
            {
              ...of("route", "replace", "default", "via", gateway, ...via, "table", table),
              path: `${path}.gateway${side}`,
            },
          ]),
    ];
  });
}

/** Rules that come before the local table: in this namespace a loopback address may be a client's. */
function routing(tool: ToolInterfaces, family: 4 | 6): Inside[] {
  const of = (...args: string[]) => ip(`-${family}`, ...args);
  const side = (a: Side): Inside[] => {
    const name = a === "A" ? tool.interfaceA : tool.interfaceB;
    const table = `${TABLE[a]}`;
    return [
      // When the interface is down, packets must not leave by another way.
      of("route", "add", "unreachable", "default", "metric", "4000", "table", table),
      of("rule", "add", "priority", `${10 + TABLE[a]}`, "iif", name, "lookup", `${TABLE.LOCAL}`),
      of("rule", "add", "priority", `${20 + TABLE[a]}`, "fwmark", `${hex(MARK[a])}/${hex(MARK.SIDE)}`, "lookup", table),
    ];
  };
  return [
    of("route", "add", "local", "default", "dev", "lo", "table", `${TABLE.LOCAL}`),
    ...SIDES.flatMap(side),
    of("rule", "add", "priority", "1000", "lookup", "local"),
    of("rule", "del", "priority", "0"),
  ];
}

function ip(...args: string[]): Extract<Inside, { kind: "command" }> {
  return { kind: "command", run: ["ip", ...args] };
}
