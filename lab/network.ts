import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { killChildren, must, type Outcome, type Program, run, start, until } from "../test/processes.ts";

export const TOPOLOGIES = ["bridge", "routed"] as const;
export type Topology = (typeof TOPOLOGIES)[number];
export type Family = 4 | 6;
export const FAMILIES: readonly Family[] = [4, 6];

/** A host of the lab: a network namespace. */
export interface Host {
  readonly namespace: string;
  /** Starts a long-running program there. Its pid is the program's own. */
  start(program: string, args: readonly string[], options?: Parameters<typeof start>[2]): Program;
  /** Runs a program there to its end. An exit code other than 0 does not reject. */
  run(program: string, args: readonly string[], options?: Parameters<typeof run>[2]): Promise<Outcome>;
  /** Runs a program there and resolves with its stdout. Rejects when the exit code is not 0. */
  must(program: string, args: readonly string[], options?: Parameters<typeof must>[2]): Promise<string>;
}

/** A host with one interface: the client or the server. */
export interface End extends Host {
  readonly interface: string;
  readonly address: Readonly<Record<Family, string>>;
}

export interface Network extends AsyncDisposable {
  readonly topology: Topology;
  readonly client: End;
  readonly server: End;
  readonly node: Host & {
    /** The interfaces toward the clients and toward the servers. */
    readonly networkA: string;
    readonly networkB: string;
    /** The node's own addresses: on its two interfaces when routed, else for its bridge. */
    readonly addresses: readonly string[];
  };
}

const PREFIX = "cltlab";
const INTERFACES = { client: "clt-client", networkA: "clt-na", networkB: "clt-nb", server: "clt-server" } as const;

const PLAN = {
  routed: {
    client: { 4: "10.1.0.2", 6: "fd00:1::2" },
    server: { 4: "10.2.0.2", 6: "fd00:2::2" },
    node: ["10.1.0.1/24", "fd00:1::1/64", "10.2.0.1/24", "fd00:2::1/64"],
  },
  bridge: {
    client: { 4: "10.3.0.2", 6: "fd00:3::2" },
    server: { 4: "10.3.0.3", 6: "fd00:3::3" },
    node: ["10.3.0.254/24", "fd00:3::fe/64"],
  },
} as const;

const DETECTION = ["net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad"];

let open: readonly string[] = [];

/**
 * Builds client, node and server, each a network namespace, and the two cables between them. Routed: the node has addresses and
 * forwards, as any router does. Bridge: client and server share a subnet, and nothing joins the node's two interfaces yet.
 * The network is removed at the end of its scope (`await using`) and when this process ends, unless SIGKILL ends it: the next
 * call removes the networks of such processes. A process can have one network at a time. Rejects without root.
 */
export async function buildNetwork(topology: Topology): Promise<Network> {
  if (open.length > 0) throw new Error(`Cannot build a network: this process has one already (${open.join(", ")})`);
  sweep();
  const [client, node, server] = ["client", "node", "server"].map((name) =>
    host(`${PREFIX}${process.pid}-${name}`),
  ) as [Host, Host, Host];
  open = [client.namespace, node.namespace, server.namespace];
  // First: another exit handler could throw.
  process.prependListener("exit", abandon);
  for (const [signal] of SIGNALS) process.on(signal, leave);
  try {
    for (const { namespace } of [client, node, server]) {
      await must("ip", ["netns", "add", namespace]);
      await ip(namespace, "link", "set", "lo", "up");
      // Duplicate address detection would keep every IPv6 address unusable for a second or two.
      await must("ip", ["netns", "exec", namespace, "sysctl", "-qw", ...DETECTION.map((key) => `${key}=0`)]);
    }
    await cable(client, INTERFACES.client, node, INTERFACES.networkA);
    await cable(server, INTERFACES.server, node, INTERFACES.networkB);
    await (topology === "routed" ? route : join)(client, node, server);
    for (const [end, cables] of [
      [client, 1],
      [node, 2],
      [server, 1],
    ] as const)
      await settle(end, cables);
  } catch (error) {
    await remove();
    throw error;
  }
  const plan = PLAN[topology];
  return {
    topology,
    client: { ...client, interface: INTERFACES.client, address: plan.client },
    server: { ...server, interface: INTERFACES.server, address: plan.server },
    node: { ...node, networkA: INTERFACES.networkA, networkB: INTERFACES.networkB, addresses: plan.node },
    [Symbol.asyncDispose]: remove,
  };
}

/**
 * Adds a host to this process's network, which is removed with it. If `made` is false, somebody else makes the namespace of this
 * name; it is removed all the same.
 */
export async function addHost(name: string, made = true): Promise<Host> {
  const added = host(`${PREFIX}${process.pid}-${name}`);
  open = [...open, added.namespace];
  if (!made) return added;
  await must("ip", ["netns", "add", added.namespace]);
  await ip(added.namespace, "link", "set", "lo", "up");
  return added;
}

/** The host that has this namespace. */
export function host(namespace: string): Host {
  const inside = (program: string, args: readonly string[]) => ["netns", "exec", namespace, program, ...args];
  return {
    namespace,
    start: (program, args, options) => start("ip", inside(program, args), options),
    run: (program, args, options) => run("ip", inside(program, args), options),
    must: (program, args, options) => must("ip", inside(program, args), options),
  };
}

async function cable(end: Host, there: string, node: Host, here: string): Promise<void> {
  await ip(end.namespace, "link", "add", there, "type", "veth", "peer", "name", here, "netns", node.namespace);
  await ip(end.namespace, "link", "set", there, "up");
  await ip(node.namespace, "link", "set", here, "up");
}

async function route(client: Host, node: Host, server: Host): Promise<void> {
  for (const [end, device, port, net] of [
    [client, INTERFACES.client, INTERFACES.networkA, 1],
    [server, INTERFACES.server, INTERFACES.networkB, 2],
  ] as const) {
    await give(end, device, `10.${net}.0.2/24`, `fd00:${net}::2/64`);
    await give(node, port, `10.${net}.0.1/24`, `fd00:${net}::1/64`);
    await ip(end.namespace, "route", "add", "default", "via", `10.${net}.0.1`);
    await ip(end.namespace, "-6", "route", "add", "default", "via", `fd00:${net}::1`);
  }
  await node.must("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
}

async function join(client: Host, _node: Host, server: Host): Promise<void> {
  await give(client, INTERFACES.client, "10.3.0.2/24", "fd00:3::2/64");
  await give(server, INTERFACES.server, "10.3.0.3/24", "fd00:3::3/64");
}

async function give(to: Host, device: string, v4: string, v6: string): Promise<void> {
  await ip(to.namespace, "addr", "add", v4, "dev", device);
  await ip(to.namespace, "-6", "addr", "add", v6, "dev", device);
}

/** The kernel may report a new cable up to a second later; addresses and routes work only then. */
function settle({ namespace }: Host, cables: number): Promise<unknown> {
  return until(`the link-local addresses in ${namespace}`, async () => {
    const addresses = await ip(namespace, "-o", "-6", "addr", "show", "scope", "link");
    return addresses.trim().split("\n").length >= cables && addresses !== "";
  });
}

function ip(namespace: string, ...args: readonly string[]): Promise<string> {
  return must("ip", ["-n", namespace, ...args]);
}

const SIGNALS = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const;

/** Exits, which runs the "exit" handlers: they remove the network. */
function leave(signal: NodeJS.Signals): void {
  process.exit(SIGNALS.find(([name]) => name === signal)?.[1]);
}

async function remove(): Promise<void> {
  removeNow();
  process.off("exit", abandon);
  for (const [signal] of SIGNALS) process.off(signal, leave);
}

/** Removes everything twice: a program that is making a namespace right now may finish before it is killed. */
function abandon(): void {
  killChildren();
  const all = open;
  removeNow();
  open = all;
  removeNow();
}

function removeNow(): void {
  for (const namespace of open) removeNamespace(namespace);
  open = [];
}

/** Removes the namespaces of labs whose process has ended. */
function sweep(): void {
  for (const namespace of namespaces()) {
    const owner = new RegExp(`^${PREFIX}(\\d+)-`).exec(namespace)?.[1];
    if (owner === undefined) continue;
    if (Number(owner) === process.pid || !existsSync(`/proc/${owner}`)) removeNamespace(namespace);
  }
}

/** Removes a namespace and kills the processes in it: a namespace lives, without its name, as long as one of them does. */
function removeNamespace(namespace: string): void {
  // A second Ctrl-C also ends the programs that clean up, so they are tried again.
  for (let attempt = 0; attempt < 5 && namespaces().includes(namespace); attempt++) {
    const { stdout } = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
    for (const pid of stdout.split("\n").filter(Boolean)) kill(Number(pid));
    try {
      execFileSync("ip", ["netns", "del", namespace], { stdio: "ignore" });
    } catch {
      // The loop checks the result.
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has already ended.
  }
}

function namespaces(): readonly string[] {
  return existsSync("/var/run/netns") ? readdirSync("/var/run/netns") : [];
}
