import { existsSync, openSync } from "node:fs";
import net from "node:net";
import { carryingHaproxy } from "../../bench/haproxy.ts";
import { addTool, buildCrossings, type Crossing, layCable } from "../../bench/hosts.ts";
import { enter } from "../../src/linux/netns.ts";
import { enterNamespace } from "../../src/linux/syscalls.ts";
import { accepts, freePort, killChildren } from "../processes.ts";
import { haproxyWith } from "../tools/proxies.ts";

/**
 * What a soak has around its node where it may: a client's and a server's network with the node between them, a tool in the wire, HAProxy
 * as a proxy tool, and every kind of feed with its reader.
 */
export interface SoakNetwork {
  readonly crossing: Crossing;
  readonly listener: object;
  readonly tools: readonly object[];
  readonly feeds: readonly object[];
  /** Connects the reader of the feed that has readers, once the node runs. */
  read(): Promise<void>;
  /** Returns to the network that this process came from. */
  leave(): void;
}

const HAPROXY = "/usr/sbin/haproxy";

/** Why there is nothing but loopback here; undefined if there is more. */
export function networkObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return "it needs root";
  const missing = ["/usr/sbin/ip", "/usr/sbin/nft", HAPROXY].filter((path) => !existsSync(path));
  return missing.length > 0 ? `${missing.join(", ")} is not installed` : undefined;
}

/** Builds it, and moves this process into the node's network namespace: what it starts from now on is there too. */
export async function buildNetwork(): Promise<SoakNetwork> {
  const home = openSync("/proc/thread-self/ns/net", "r");
  const leave = () => enterNamespace(home);
  // Before the namespaces are removed, which ends all that is in them.
  process.once("exit", () => {
    killChildren();
    leave();
  });
  const crossing = buildCrossings("routed", 1)[0]!;
  const { interfaceA, interfaceB, ends } = addTool(crossing, 0);
  layCable(crossing.node, "clt-mon", "clt-ids");
  enter(crossing.node.namespace!);
  const [there, back, pcap] = [await freePort(), await freePort(), await freePort()];
  await haproxyWith({ port: there, back }, carryingHaproxy(there, back));
  // A busy machine is no failed tool.
  const heartbeat = { timeout: "20s", retries: 10 };
  return {
    crossing,
    listener: {
      name: "edge",
      mode: "inline",
      topology: "routed",
      ...{ networkA: crossing.networkA, networkB: crossing.networkB },
    },
    tools: [
      { name: "wire", kind: "inline", interfaceA, interfaceB, namespace: ends, heartbeat },
      {
        name: "haproxy",
        kind: "proxy",
        ...{ address: `127.0.0.1:${there}`, returnAddress: `127.0.0.1:${back}`, heartbeat },
      },
    ],
    feeds: [
      { name: "readers", kind: "pcap-over-ip", address: `127.0.0.1:${pcap}` },
      { name: "ids", kind: "interface", interface: "clt-mon" },
    ],
    async read() {
      await accepts(pcap);
      const reader = net.connect(pcap, "127.0.0.1").on("error", () => undefined);
      reader.resume().unref();
    },
    leave,
  };
}
