import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import net from "node:net";
import { within } from "../src/linux/netns.ts";
import { transparentClient } from "../src/linux/sockets.ts";

/** Where a program runs: in a network namespace, or in this one. */
export interface Host {
  readonly namespace: string | undefined;
  /** The address of its sockets. */
  readonly address: string;
}

export const HERE: Host = { namespace: undefined, address: "127.0.0.1" };

/** A way from the client to the server, through a host of its own. */
export interface Crossing {
  readonly client: Host;
  readonly node: Host;
  readonly server: Host;
  readonly networkA: string;
  readonly networkB: string;
  /** The addresses for the node's bridge; none when its interfaces already have addresses. */
  readonly addresses: readonly string[];
}

export const TOPOLOGIES = ["routed", "bridge"] as const;
export type Topology = (typeof TOPOLOGIES)[number];

const PREFIX = "cltbench";
const [NETWORK_A, NETWORK_B, BRIDGE] = ["clt-na", "clt-nb", "clt-br"];

/**
 * Builds a client, a server and several ways between them, each through a host and addresses of its own, so that subjects do
 * not affect each other. All is removed when this process exits; after a SIGKILL, the next call removes it. Throws without
 * root.
 */
export function buildCrossings(topology: Topology, count: number): readonly Crossing[] {
  sweep();
  process.once("exit", () => removeOf(process.pid));
  const [client, server] = [addNamespace("client"), addNamespace("server")];
  return Array.from({ length: count }, (_, index) => {
    const node = addNamespace(`node${index}`);
    const net = `10.${10 + index}`;
    const plan = topology === "routed" ? routed(net) : bridged(net);
    for (const [end, device, port, address] of [
      [client, `clt-c${index}`, NETWORK_A, plan.client],
      [server, `clt-s${index}`, NETWORK_B, plan.server],
    ] as const) {
      ip(end, `link add ${device} type veth peer name ${port} netns ${node}`);
      ip(end, `addr add ${address}/24 dev ${device}`);
      ip(end, `link set ${device} up`);
      ip(node, `link set ${port} up`);
    }
    if (topology === "routed") {
      ip(node, `addr add ${net}.1.1/24 dev ${NETWORK_A}`);
      ip(node, `addr add ${net}.2.1/24 dev ${NETWORK_B}`);
      ip(client, `route add ${net}.2.0/24 via ${net}.1.1`);
      ip(server, `route add ${net}.1.0/24 via ${net}.2.1`);
    }
    return {
      client: { namespace: client, address: plan.client },
      node: { namespace: node, address: plan.node },
      server: { namespace: server, address: plan.server },
      networkA: NETWORK_A,
      networkB: NETWORK_B,
      addresses: topology === "bridge" ? [`${plan.node}/24`] : [],
    };
  });
}

function routed(net: string) {
  return { client: `${net}.1.2`, node: `${net}.1.1`, server: `${net}.2.2` };
}

function bridged(net: string) {
  return { client: `${net}.0.2`, node: `${net}.0.254`, server: `${net}.0.3` };
}

/** Adds a tool that only forwards: a bridge between two interfaces of the node. `ends`: the namespace that the node makes. */
export function addTool({ node }: Crossing, index: number) {
  const [interfaceA, interfaceB] = [`clt-t${index}a`, `clt-t${index}b`] as const;
  const tool = addNamespace(`${node.namespace?.split("-").at(-1)}tool${index}`);
  ip(tool, `link add ${BRIDGE} type bridge`);
  for (const name of [interfaceA, interfaceB]) {
    ip(tool, `link add in-${name} type veth peer name ${name} netns ${node.namespace}`);
    ip(tool, `link set in-${name} master ${BRIDGE}`);
    ip(tool, `link set in-${name} up`);
  }
  ip(tool, `link set ${BRIDGE} up`);
  return { interfaceA, interfaceB, ends: `${tool}-ends` };
}

/** Makes the kernel forward between both networks, as a router or a bridge without a node. */
export function forwardPlainly({ node, networkA, networkB, addresses }: Crossing): void {
  const name = node.namespace ?? "";
  if (addresses.length === 0) {
    execFileSync("ip", ["netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    return;
  }
  ip(name, `link add ${BRIDGE} type bridge`);
  for (const port of [networkA, networkB]) ip(name, `link set ${port} master ${BRIDGE}`);
  for (const address of addresses) ip(name, `addr add ${address} dev ${BRIDGE}`);
  ip(name, `link set ${BRIDGE} up`);
}

/** Adds a cable between two interfaces of a host. */
export function layCable({ namespace = "" }: Host, one: string, other: string): void {
  ip(namespace, `link add ${one} type veth peer name ${other}`);
  for (const end of [one, other]) ip(namespace, `link set ${end} up`);
}

/** Opens a TCP connection from a host. Its errors have a listener, so they do not end the bench. */
export function dial(from: Host, address: string, port: number): net.Socket {
  const { namespace } = from;
  if (namespace === undefined) return net.connect(port, address).on("error", () => undefined);
  const own = address.startsWith("127.") ? address : from.address;
  const fd = within(namespace, () => transparentClient({ address: own, port: 0 }));
  const options = { fd, manualStart: true, allowHalfOpen: false }; // Node's types do not know manualStart
  return new net.Socket(options).on("error", () => undefined).connect(port, address);
}

function addNamespace(role: string): string {
  const name = `${PREFIX}${process.pid}-${role}`;
  execFileSync("ip", ["netns", "add", name]);
  ip(name, "link set lo up");
  return name;
}

function ip(namespace: string, command: string): void {
  execFileSync("ip", ["-n", namespace, ...command.split(" ")], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Removes the namespaces of benches whose process has ended. */
function sweep(): void {
  for (const name of namespaces()) {
    const owner = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (owner === process.pid || (owner && !existsSync(`/proc/${owner}`))) removeOf(owner);
  }
}

function removeOf(owner: number): void {
  for (const name of namespaces().filter((name) => name.startsWith(`${PREFIX}${owner}-`))) {
    // A namespace lives, without its name, as long as a process is in it.
    const { stdout } = spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" });
    for (const pid of stdout.split("\n").filter(Boolean)) spawnSync("kill", ["-KILL", pid]);
    spawnSync("ip", ["netns", "del", name]);
  }
}

function namespaces(): readonly string[] {
  return existsSync("/var/run/netns") ? readdirSync("/var/run/netns") : [];
}
