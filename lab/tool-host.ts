import { addHost, type Host, type Network } from "./network.ts";

/** A tool between Ta and Tb: a host that is a bridge between its two interfaces, as any bump in the wire. */
export interface ToolHost extends Host {
  readonly name: string;
  /** Its interface toward Ta, and the one toward Tb. */
  readonly inA: string;
  readonly inB: string;
  /** The namespace that the node makes for Ta and Tb. */
  readonly ends: string;
  /** The node's interfaces. */
  readonly interfaceA: string;
  readonly interfaceB: string;
}

/** What a scenario says of a tool; the rest is laid over its configuration. */
export interface ToolSpec {
  readonly name: string;
  readonly [key: string]: unknown;
}

/** A request that says this is killed by every tool of the lab. */
export const FORBIDDEN = "clearline-forbidden";

/** What the tool itself sends goes to the node's address at Ta: docs/guide/tools.md. */
const OWN = { v4: "169.254.77.3/29", v6: "fe80::77:3/64", gateway4: "169.254.77.1", gateway6: "fe80::77:1" } as const;

/** Builds a tool's host, with two cables to the node. It resets connections whose packets say FORBIDDEN. */
export async function addTool({ node }: Network, name: string): Promise<ToolHost> {
  const host = await addHost(`tool-${name}`);
  const ends = await addHost(`ends-${name}`, false);
  const [interfaceA, interfaceB] = [`clt-${name}-a`, `clt-${name}-b`];
  const [inA, inB] = ["clt-in-a", "clt-in-b"];
  for (const [here, there] of [
    [interfaceA, inA],
    [interfaceB, inB],
  ] as const) {
    await node.must("ip", ["link", "add", here, "type", "veth", "peer", "name", there, "netns", host.namespace]);
  }
  await host.must("ip", ["link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"]);
  for (const link of [inA, inB]) await host.must("ip", ["link", "set", link, "master", "br0"]);
  for (const link of [inA, inB, "br0"]) await host.must("ip", ["link", "set", link, "up"]);
  await host.run("modprobe", ["br_netfilter"]); // a kernel that has it built in says that there is none
  // A bridge of Linux has its packets filtered by iptables only when told so, and sends a reset as any host sends a packet.
  await host.must("sysctl", ["-qw", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1"]);
  await host.must("ip", ["address", "add", OWN.v4, "dev", "br0"]);
  await host.must("ip", ["route", "add", "default", "via", OWN.gateway4]);
  await host.must("ip", ["address", "add", OWN.v6, "dev", "br0", "nodad"]);
  await host.must("ip", ["-6", "route", "add", "default", "via", OWN.gateway6, "dev", "br0"]);
  for (const program of ["iptables-nft", "ip6tables-nft"]) {
    const match = ["-p", "tcp", "-m", "string", "--algo", "bm", "--string", FORBIDDEN];
    await host.must(program, ["-A", "FORWARD", ...match, "-j", "REJECT", "--reject-with", "tcp-reset"]);
  }
  return { ...host, name, inA, inB, ends: ends.namespace, interfaceA, interfaceB };
}

/** The tool as the node's configuration has it. Short times: a claim waits for them. */
export function configure(tool: ToolHost, more: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return {
    name: tool.name,
    kind: "inline",
    interfaceA: tool.interfaceA,
    interfaceB: tool.interfaceB,
    namespace: tool.ends,
    ports: { 443: 80 },
    heartbeat: { period: "250ms", timeout: "1500ms", retries: 2, recovery: "500ms" },
    ...more,
  };
}
