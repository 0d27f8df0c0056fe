import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readdirSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { within } from "./netns.ts";
import { transparentClient, transparentListener } from "./sockets.ts";
import { enterNamespace } from "./syscalls.ts";

/**
 * For tests: a client, a node and a server, each in its own network namespace. The names have a prefix and the process's id, so that
 * runs do not collide, and the namespaces of a killed run can be found and removed.
 */
const PREFIX = "clt9-";
/** Debian's own: the first one in PATH may be a script that first looks for which Python it starts. */
export const PYTHON = "/usr/bin/python3";
const PROGRAMS: readonly (readonly [path: string, debianPackage: string])[] = [
  ["/usr/sbin/ip", "iproute2"],
  ["/usr/sbin/nft", "nftables"],
  ["/usr/sbin/iptables-nft", "iptables"],
  ["/usr/bin/tcpdump", "tcpdump"],
  [PYTHON, "python3"],
];

/** Test options that skip a test, with the reason, where namespaces cannot be made. */
export function needsNamespaces(): { skip: string | false } {
  if (process.getuid?.() !== 0) return { skip: "needs root, to make network namespaces" };
  const missing = PROGRAMS.filter(([path]) => !existsSync(path)).map(([, debianPackage]) => debianPackage);
  return { skip: missing.length > 0 && `needs ${missing.join(", ")}` };
}

export interface Network extends Disposable {
  /** The namespaces' names. */
  readonly client: string;
  readonly node: string;
  readonly server: string;
}

export interface Ends {
  readonly client: string;
  readonly server: string;
}

/** The addresses of client and server, in the routed network and on the bridge. */
export const ROUTED: Readonly<Record<4 | 6, Ends>> = {
  4: { client: "10.1.0.2", server: "10.2.0.2" },
  6: { client: "fd00:1::2", server: "fd00:2::2" },
};
export const BRIDGED: Readonly<Record<4 | 6, Ends>> = {
  4: { client: "10.3.0.2", server: "10.3.0.3" },
  6: { client: "fd00:3::2", server: "fd00:3::3" },
};

/** The node is a router between ca–na and nb–sb. */
export function routedNetwork(): Network {
  const network = cables();
  const { client, node, server } = network;
  for (const [name, interfaceName, net] of [
    [client, "ca", "1"],
    [server, "sb", "2"],
  ] as const) {
    address(name, interfaceName, `10.${net}.0.2/24`, `fd00:${net}::2/64`);
    run(name, "ip", "route", "add", "default", "via", `10.${net}.0.1`);
    run(name, "ip", "-6", "route", "add", "default", "via", `fd00:${net}::1`);
  }
  address(node, "na", "10.1.0.1/24", "fd00:1::1/64");
  address(node, "nb", "10.2.0.1/24", "fd00:2::1/64");
  run(node, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  settle(network);
  return network;
}

/** Loads a table of nft in the node. Packets that it marks with 1 are for the node, whatever their address. */
export function deliverMarked({ node }: Network, table: string): void {
  feed(node, table, "nft", "-f", "-");
  for (const family of ["-4", "-6"]) {
    run(node, "ip", family, "rule", "add", "fwmark", "1", "lookup", "100");
    run(node, "ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100");
  }
}

/** Client and server are in one subnet. The node has two interfaces, na and nb, which nothing joins yet. */
export function bridgedNetwork(): Network {
  const network = cables();
  address(network.client, "ca", "10.3.0.2/24", "fd00:3::2/64");
  address(network.server, "sb", "10.3.0.3/24", "fd00:3::3/64");
  for (const name of ["na", "nb"]) run(network.node, "ip", "link", "set", name, "up");
  settle(network);
  return network;
}

/**
 * Moves this process, and every process that it starts from now on, into a namespace that has only a loopback interface. Disposing
 * removes the namespace's name; the namespace ends with its last process.
 */
export function enterOwnNamespace(): Disposable {
  sweepNamespaces();
  const name = `${PREFIX}${process.pid}-own`;
  execFileSync("ip", ["netns", "add", name]);
  const fd = openSync(`/var/run/netns/${name}`, "r");
  enterNamespace(fd);
  closeSync(fd);
  execFileSync("sysctl", ["-qw", "net.ipv6.conf.default.disable_ipv6=1"]);
  execFileSync("ip", ["link", "set", "lo", "up"]);
  return { [Symbol.dispose]: () => execFileSync("ip", ["netns", "del", name]) };
}

/** A cable between two interfaces of this process's namespace. */
export function layCable(one: string, other: string, mtu = 1500): void {
  const size = ["mtu", `${mtu}`];
  execFileSync("ip", ["link", "add", one, ...size, "type", "veth", "peer", "name", other, ...size]);
  for (const end of [one, other]) execFileSync("ip", ["link", "set", end, "up"]);
}

/** Waits until each interface has its link-local address, which it gets once both ends of its cable are up. */
function settle({ client, node, server }: Network): void {
  for (const [name, count] of [
    [client, 1],
    [node, 2],
    [server, 1],
  ] as const) {
    while (run(name, "cat", "/proc/net/if_inet6").split(/^fe80/m).length - 1 < count);
  }
}

function cables(): Network {
  sweepNamespaces();
  const [client, node, server] = ["client", "node", "server"].map((end) => `${PREFIX}${process.pid}-${end}`);
  const network = {
    client: client!,
    node: node!,
    server: server!,
    [Symbol.dispose]: () => {
      for (const name of [client!, node!, server!]) execFileSync("ip", ["netns", "del", name]);
    },
  };
  for (const name of [network.client, network.node, network.server]) {
    execFileSync("ip", ["netns", "add", name]);
    // Without duplicate detection, which would keep every IPv6 address unusable for a second.
    run(name, "sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0");
    run(name, "ip", "link", "set", "lo", "up");
  }
  for (const [end, there, here] of [
    [network.client, "ca", "na"],
    [network.server, "sb", "nb"],
  ] as const) {
    run(end, "ip", "link", "add", there, "type", "veth", "peer", "name", here, "netns", network.node);
  }
  return network;
}

function address(name: string, interfaceName: string, v4: string, v6: string): void {
  run(name, "ip", "addr", "add", v4, "dev", interfaceName);
  run(name, "ip", "-6", "addr", "add", v6, "dev", interfaceName);
  run(name, "ip", "link", "set", interfaceName, "up");
}

/** Runs a program in a namespace and returns its output. Throws when it fails. */
export function run(name: string, program: string, ...args: string[]): string {
  return execFileSync("ip", ["netns", "exec", name, program, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** Runs a program in a namespace with this input. */
export function feed(name: string, input: string, program: string, ...args: string[]): string {
  return execFileSync("ip", ["netns", "exec", name, program, ...args], { encoding: "utf8", input });
}

/** A server in a namespace, at every address of one family. */
export async function serve(
  name: string,
  where: { readonly family: 4 | 6; readonly port: number; readonly mark?: number },
  accept: (client: Socket) => void,
): Promise<AsyncDisposable & { readonly fd: number }> {
  const fd = within(name, () =>
    transparentListener({
      address: where.family === 6 ? "::" : "0.0.0.0",
      port: where.port,
      backlog: 128,
      reusePort: true,
      ...(where.mark !== undefined && { mark: where.mark }),
    }),
  );
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (client) => {
    open.add(client);
    client.on("error", () => {}).on("close", () => open.delete(client));
    accept(client);
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen({ fd, backlog: 128 }, resolve));
  return {
    fd,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const client of open) client.destroy();
      }),
  };
}

/**
 * Connects as the client, by a socket of Node's that is half-open capable and paused. The socket is made before this returns. Rejects
 * with NetworkError, the system's code in it.
 */
export async function connectFrom(options: {
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** ms. */
  readonly timeout: number;
  readonly mark?: number;
}): Promise<Socket> {
  const { from, to, timeout, mark } = options;
  // Node's types do not have manualStart: nothing is read before the socket is connected.
  const handle = { fd: transparentClient(from, mark), manualStart: true, allowHalfOpen: true };
  const socket = new Socket(handle);
  socket.setNoDelay(true).connect({ host: to.address, port: to.port });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(timeout) });
    return socket.on("error", () => {}).pause();
  } catch (error) {
    socket.on("error", () => {}).destroy();
    const { name, code = "ECONNREFUSED" } = error as NodeJS.ErrnoException;
    const why = name === "AbortError" ? "ETIMEDOUT" : code;
    throw new NetworkError(`Cannot connect to ${to.address} port ${to.port}: ${why}`, why, { cause: error });
  }
}

/** Removes the namespaces of processes that have ended. Their names are the prefix, the process's id and a hyphen. */
export function sweepNamespaces(prefix = PREFIX): void {
  if (!existsSync("/var/run/netns")) return;
  for (const name of readdirSync("/var/run/netns")) {
    const owner = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    try {
      execFileSync("ip", ["netns", "del", name], { stdio: "pipe" });
    } catch (error) {
      // Another file's tests, which run beside these, may have removed it first.
      if (existsSync(`/var/run/netns/${name}`)) throw error;
    }
  }
}
