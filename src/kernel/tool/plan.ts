import { ConfigError, NetworkError } from "../../errors.ts";
import { within } from "../../linux/netns.ts";
import { type Link, readLink } from "../../linux/routes.ts";
import { hex } from "../../vocabulary.ts";
import type { InsideStep, Step } from "../step.ts";
import { MARK, namespaceOf, type ToolInterfaces } from "./numbers.ts";
import { writeToolRules } from "./rules.ts";

/** What this kernel can do, as far as tools need it. */
interface Features {
  readonly nftQueue: boolean;
  readonly iptablesNft: boolean;
  readonly ipv6: boolean;
}

export interface ToolsInput {
  /** Each with its place in the configuration: "tools[0]". */
  readonly tools: readonly { readonly tool: ToolInterfaces; readonly path: string }[];
  /** 1 to 64. */
  readonly workers: number;
  readonly features: Features;
  /** An interface that is in its tool's namespace already will do: the plan is only read. */
  readonly standing: boolean;
}

/** Routing tables and the order of the rules that lead to them, in a namespace that has nothing else. */
export const TABLE = { A: 101, B: 102, LOCAL: 103 } as const;
/** Layer 2: what the node calls the interface at the tool's other side; its hardware address is known, nobody is asked. */
const OTHER_SIDE = { 4: "169.254.77.9", 6: "fe80::77:9" } as const;

/**
 * Plans what the kernel needs for the inline tools: a namespace for each, in which both of its interfaces are. Undoing gives them
 * back; all else goes with the namespace. Reads the interfaces, changes nothing. Throws ConfigError with the path of what cannot be.
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

/** An interface that a node has given to the tool. A service's namespaces are its own: nobody else can look into them. */
function readGiven(tool: ToolInterfaces, name: string): Link | undefined {
  try {
    return within(namespaceOf(tool), () => readLink(name));
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

/** An interface that nobody else uses: it leaves this machine's network for the tool's namespace. */
function readFree(name: string, path: string): Link {
  const link = readLink(name);
  const refuse = (why: string) => new ConfigError(path, `Cannot give ${name} to a tool (${path}): ${why}`);
  if (link === undefined) throw refuse("there is no interface of this name");
  if (link.master !== undefined) throw refuse(`it belongs to ${link.master}`);
  const [own] = link.addresses.filter((address) => !address.startsWith("fe80:"));
  if (own !== undefined) throw refuse(`it has the address ${own}, which would be lost; take that away first`);
  return link;
}

export const SIDES = ["A", "B"] as const;
export type Side = (typeof SIDES)[number];
type Inside = InsideStep["steps"][number];

/** A tool with its place in the configuration and its two interfaces. */
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

/** Where nft cannot queue, iptables-nft can: behind the rules that know who awaits a SYN. Without bypass: unheld is unpaired. */
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
      // Both ends' addresses come in on both sides; a reverse path would say that they are strange.
      set(`ipv4/conf/${link}/rp_filter`, "0"),
      set(`ipv4/conf/${link}/accept_local`, "1"),
      // A client on this machine has a loopback address.
      set(`ipv4/conf/${link}/route_localnet`, "1"),
      set(`ipv4/conf/${link}/arp_ignore`, "1"),
      set(`ipv4/conf/${link}/accept_redirects`, "0"),
      set(`ipv4/conf/${link}/send_redirects`, "0"),
      set(`ipv4/conf/${link}/forwarding`, "0"),
    ]),
    // A client's own port may be any, and may come again while its last connection lingers.
    set("ipv4/ip_unprivileged_port_start", "0"),
    set("ipv4/tcp_tw_reuse", "1"),
    // A cookie is a connection without a SYN that was awaited.
    set("ipv4/tcp_syncookies", "0"),
    set("ipv4/tcp_fwmark_accept", "0"),
    ...(ipv6
      ? links.flatMap((link) => [
          set(`ipv6/conf/${link}/disable_ipv6`, "0"),
          set(`ipv6/conf/${link}/accept_ra`, "0"),
          set(`ipv6/conf/${link}/accept_dad`, "0"),
          set(`ipv6/conf/${link}/accept_redirects`, "0"),
          // A neighbour is asked for from a link-local address; a bump in the wire has no neighbours.
          set(`ipv6/conf/${link}/addr_gen_mode`, layer === 3 ? "0" : "1"),
          set(`ipv6/conf/${link}/forwarding`, "0"),
        ])
      : []),
  ];
}

/**
 * What goes out at one side, and by whom it is known there. The kernel forgets all of it when the interface is set down, so each
 * of these may be said again.
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

/** Before the table of local addresses is asked: a loopback address is not this machine's here. */
function routing(tool: ToolInterfaces, family: 4 | 6): Inside[] {
  const of = (...args: string[]) => ip(`-${family}`, ...args);
  const side = (a: Side): Inside[] => {
    const name = a === "A" ? tool.interfaceA : tool.interfaceB;
    const table = `${TABLE[a]}`;
    return [
      // When the interface is down there is no other way.
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
