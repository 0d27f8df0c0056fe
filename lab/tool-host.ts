import { addHost, type Host, type Network } from "./network.ts";

/** A tool between Ta and Tb: a host that is a bridge between its two interfaces, or a router. */
export interface ToolHost extends Host {
  readonly name: string;
  readonly layer: 2 | 3;
  /** Its interfaces toward Ta and toward Tb. */
  readonly inA: string;
  readonly inB: string;
  /** The namespace that the node makes for Ta and Tb. */
  readonly ends: string;
  /** The node's interfaces toward the tool. */
  readonly interfaceA: string;
  readonly interfaceB: string;
}

/** A tool of a scenario. The other keys override its configuration. */
export interface ToolSpec {
  readonly name: string;
  /** 3: a router. Absent: a bridge. */
  readonly layer?: 2 | 3;
  readonly [key: string]: unknown;
}

/** Every tool of the lab resets a connection whose packets contain this. */
export const FORBIDDEN = "clearline-forbidden";

/** A tool's interfaces, in its own namespace. */
const IN = { A: "clt-in-a", B: "clt-in-b" } as const;

/** A bridge's own address, and its gateway: the node's address at Ta (docs/guide/tools.md). */
const OWN = { v4: "169.254.77.3/29", v6: "fe80::77:3/64", gateway4: "169.254.77.1", gateway6: "fe80::77:1" } as const;

/** The addresses of the node and of a tool that is a router, on each side. */
const SIDES = {
  A: { node: ["10.77.1.1", "fd00:77:1::1"], tool: ["10.77.1.2", "fd00:77:1::2"] },
  B: { node: ["10.77.2.1", "fd00:77:2::1"], tool: ["10.77.2.2", "fd00:77:2::2"] },
} as const;
/** The source addresses of heartbeats: docs/guide/tools.md. */
const HEARTBEATS = "192.0.2.0/24";

/** Builds a tool's host, with two cables to the node. It resets connections whose packets contain FORBIDDEN. */
export async function addTool(
  network: Network,
  { name, layer = 2 }: Pick<ToolSpec, "name" | "layer">,
): Promise<ToolHost> {
  const { node } = network;
  const host = await addHost(`tool-${name}`);
  const ends = await addHost(`ends-${name}`, false);
  const [interfaceA, interfaceB] = [`clt-${name}-a`, `clt-${name}-b`];
  for (const [here, there] of [
    [interfaceA, IN.A],
    [interfaceB, IN.B],
  ] as const) {
    await node.must("ip", ["link", "add", here, "type", "veth", "peer", "name", there, "netns", host.namespace]);
  }
  if (layer === 3) await route(host, network);
  else await bridge(host);
  for (const program of ["iptables-nft", "ip6tables-nft"]) {
    const match = ["-p", "tcp", "-m", "string", "--algo", "bm", "--string", FORBIDDEN];
    await host.must(program, ["-A", "FORWARD", ...match, "-j", "REJECT", "--reject-with", "tcp-reset"]);
  }
  return { ...host, name, layer, inA: IN.A, inB: IN.B, ends: ends.namespace, interfaceA, interfaceB };
}

async function bridge(host: Host): Promise<void> {
  await host.must("ip", ["link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"]);
  for (const link of [IN.A, IN.B]) await host.must("ip", ["link", "set", link, "master", "br0"]);
  for (const link of [IN.A, IN.B, "br0"]) await host.must("ip", ["link", "set", link, "up"]);
  await host.run("modprobe", ["br_netfilter"]); // fails where the kernel has it built in
  // Without this, iptables does not see the packets of a bridge.
  await host.must("sysctl", ["-qw", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1"]);
  await host.must("ip", ["address", "add", OWN.v4, "dev", "br0"]);
  await host.must("ip", ["route", "add", "default", "via", OWN.gateway4]);
  await host.must("ip", ["address", "add", OWN.v6, "dev", "br0", "nodad"]);
  await host.must("ip", ["-6", "route", "add", "default", "via", OWN.gateway6, "dev", "br0"]);
}

/** Makes the tool a router: the clients are behind A, all other hosts behind B. */
async function route(host: Host, { client }: Network): Promise<void> {
  for (const side of ["A", "B"] as const) {
    const [v4, v6] = SIDES[side].tool;
    await host.must("sysctl", ["-qw", `net.ipv4.conf.${IN[side]}.rp_filter=0`]);
    await host.must("ip", ["link", "set", IN[side], "up"]);
    await host.must("ip", ["address", "add", `${v4}/24`, "dev", IN[side]]);
    await host.must("ip", ["address", "add", `${v6}/64`, "dev", IN[side], "nodad"]);
  }
  const forwarding = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0"];
  await host.must("sysctl", ["-qw", ...forwarding]);
  for (const [to, via] of [
    [client.address[4], SIDES.A.node[0]],
    [client.address[6], SIDES.A.node[1]],
    [HEARTBEATS, SIDES.A.node[0]],
    ["default", SIDES.B.node[0]],
    ["default", SIDES.B.node[1]],
  ] as const) {
    await host.must("ip", [via.includes(":") ? "-6" : "-4", "route", "add", to, "via", via]);
  }
}

/** The tool's part of the node's configuration. Its times are short, because claims wait for them. */
export function configure(tool: ToolHost, more: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return {
    name: tool.name,
    kind: "inline",
    interfaceA: tool.interfaceA,
    interfaceB: tool.interfaceB,
    namespace: tool.ends,
    ports: { 443: 80 },
    ...(tool.layer === 3 && {
      layer: 3,
      addressA: withPrefix(SIDES.A.node),
      addressB: withPrefix(SIDES.B.node),
      gatewayA: SIDES.A.tool,
      gatewayB: SIDES.B.tool,
    }),
    heartbeat: { period: "250ms", timeout: "1500ms", retries: 2, recovery: "500ms" },
    ...more,
  };
}

function withPrefix([v4, v6]: readonly [string, string]): readonly string[] {
  return [`${v4}/24`, `${v6}/64`];
}
