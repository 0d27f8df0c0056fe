import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planTools, setUpTools, takeDownTools } from "../kernel/tools.ts";
import { within } from "../linux/netns.ts";
import { run, sweepNamespaces } from "../linux/test-network.ts";
import type { InlineTool } from "./inline-tool.ts";

/**
 * For tests: the node's namespace with a tool's two interfaces, and the tool's own namespace, where the tool is a bridge between ia and
 * ib, or a router with an address on each.
 */
export interface ToolNetwork extends Disposable {
  readonly node: string;
  /** The tool's own namespace. */
  readonly tool: string;
  readonly interfaceA: string;
  readonly interfaceB: string;
  /** The folder with the node's journal. */
  readonly dataDir: string;
}

const PREFIX = "cltool-";
let made = 0;

export function toolNetwork(kind: "bridge" | "router" = "bridge"): ToolNetwork {
  sweepNamespaces(PREFIX);
  made += 1;
  const [node, tool] = ["node", "tool"].map((end) => `${PREFIX}${process.pid}-${made}-${end}`) as [string, string];
  for (const name of [node, tool]) {
    execFileSync("ip", ["netns", "add", name]);
    run(name, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0");
    run(name, "ip", "link", "set", "lo", "up");
  }
  for (const [here, there] of [
    ["tool-a", "ia"],
    ["tool-b", "ib"],
  ] as const) {
    run(node, "ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", tool);
    run(tool, "ip", "link", "set", there, "up");
  }
  if (kind === "bridge") {
    run(tool, "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0");
    for (const name of ["ia", "ib"]) run(tool, "ip", "link", "set", name, "master", "br0");
    run(tool, "ip", "link", "set", "br0", "up");
  } else route(tool);
  return {
    node,
    tool,
    interfaceA: "tool-a",
    interfaceB: "tool-b",
    dataDir: mkdtempSync(join(tmpdir(), "clearline-tool-")),
    [Symbol.dispose]() {
      within(node, () => takeDownTools(this.dataDir));
      for (const name of [node, tool]) execFileSync("ip", ["netns", "del", name]);
      rmSync(this.dataDir, { recursive: true });
    },
  };
}

/** Sets up a tool that is a router: the clients are behind A, everything else behind B. */
function route(tool: string): void {
  for (const [name, v4, v6] of [
    ["ia", "10.77.1.2/24", "fd00:77:1::2/64"],
    ["ib", "10.77.2.2/24", "fd00:77:2::2/64"],
  ] as const) {
    run(tool, "ip", "address", "add", v4, "dev", name);
    run(tool, "ip", "address", "add", v6, "dev", name, "nodad");
    run(tool, "sysctl", "-qw", `net.ipv4.conf.${name}.rp_filter=0`);
  }
  run(
    tool,
    "sysctl",
    "-qw",
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.conf.all.rp_filter=0",
  );
  for (const clients of ["10.1.0.0/24", "192.0.2.0/24"]) run(tool, "ip", "route", "add", clients, "via", "10.77.1.1");
  run(tool, "ip", "-6", "route", "add", "fd00:1::/64", "via", "fd00:77:1::1");
  run(tool, "ip", "route", "add", "default", "via", "10.77.2.1");
  run(tool, "ip", "-6", "route", "add", "default", "via", "fd00:77:2::1");
}

/** A tool of this network, as the configuration has it. */
export function toolIn(network: ToolNetwork, more: Partial<InlineTool> = {}): InlineTool {
  const { node, interfaceA, interfaceB } = network;
  return {
    name: "ips",
    kind: "inline",
    namespace: `${node}-ends`,
    interfaceA,
    interfaceB,
    ports: { 443: 80 },
    layer: 2,
    addressA: ["169.254.77.1/29", "fe80::77:1/64"],
    addressB: ["169.254.77.2/29", "fe80::77:2/64"],
    gatewayA: [],
    gatewayB: [],
    flows: ["decrypted"],
    onFailure: "drop",
    ...more,
  };
}

export function setUp({ node, dataDir }: ToolNetwork, tool: InlineTool, workers: number): void {
  within(node, () => setUpTools(planTools([tool], workers), dataDir));
}

/** The node's settings for a tool that is a router. */
export const ROUTER: Partial<InlineTool> = {
  layer: 3,
  addressA: ["10.77.1.1/24", "fd00:77:1::1/64"],
  gatewayA: ["10.77.1.2", "fd00:77:1::2"],
  addressB: ["10.77.2.1/24", "fd00:77:2::1/64"],
  gatewayB: ["10.77.2.2", "fd00:77:2::2"],
};
