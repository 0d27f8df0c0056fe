import { existsSync } from "node:fs";
import { ConfigError } from "../errors.ts";
import { requireNetAdmin } from "./capabilities.ts";
import { isInstalled, readProgram, runProgram } from "./program.ts";

/** The features of this kernel and of the installed programs. Without one, an inline listener works in another way or not at all. */
export interface Features {
  /** nft's `queue` statement. Without it, iptables-nft's NFQUEUE target queues the SYNs. */
  readonly nftQueue: boolean;
  readonly iptablesNft: boolean;
  readonly tproxy: boolean;
  readonly socketMatch: boolean;
  readonly fib: boolean;
  readonly hash: boolean;
  readonly reject: boolean;
  readonly bridge: boolean;
  /** nft's `log` statement, to a group of nfnetlink_log. */
  readonly nftLog: boolean;
  /** nft's `notrack` statement. A kernel without it has no connection tracking either. */
  readonly notrack: boolean;
  /** Whether the kernel has IPv6. */
  readonly ipv6: boolean;
  /** IPv6 forwarding for one interface (Linux 6.17). Without it, forwarding is switched for all interfaces. */
  readonly forceForwarding: boolean;
}

/** Loads a script as one transaction. Throws ConfigError with nft's message. */
export function loadRules(script: string): void {
  runProgram(["nft", "-f", "-"], script);
}

/** One rule for each feature. The kernel checks the rule and does not load it. */
const PROBES = {
  nftQueue: ["inet", "meta l4proto tcp queue num 0 bypass"],
  tproxy: ["inet", "meta l4proto tcp tproxy to :1"],
  socketMatch: ["inet", "socket wildcard 0 socket transparent 1 accept"],
  fib: ["inet", "fib daddr type local accept"],
  hash: ["inet", "jhash ip saddr . tcp sport mod 2 seed 0x1 vmap { 0 : accept, 1 : accept }"],
  reject: ["inet", "reject with icmpx type host-unreachable"],
  bridge: ["bridge", "ether type ip meta pkttype set host ether daddr set 02:00:00:00:00:01"],
  nftLog: ["inet", "log group 0 snaplen 256"],
  notrack: ["inet", "notrack"],
} as const;

/** Asks the kernel for its features, and changes nothing. Throws ConfigError without nft or CAP_NET_ADMIN. */
export function probeFeatures(): Features {
  requireNetAdmin();
  // Every kernel with nftables accepts this: if it fails, nft is missing.
  runProgram(["nft", "-c", "-f", "-"], "table inet clearline-probe\n");
  const able = (name: keyof typeof PROBES) => accepts(PROBES[name][0], PROBES[name][1]);
  return {
    nftQueue: able("nftQueue"),
    iptablesNft: isInstalled("iptables-nft") && isInstalled("ip6tables-nft"),
    tproxy: able("tproxy"),
    socketMatch: able("socketMatch"),
    fib: able("fib"),
    hash: able("hash"),
    reject: able("reject"),
    bridge: able("bridge"),
    nftLog: able("nftLog"),
    notrack: able("notrack"),
    ipv6: existsSync("/proc/sys/net/ipv6"),
    forceForwarding: existsSync("/proc/sys/net/ipv6/conf/all/force_forwarding"),
  };
}

function accepts(family: "inet" | "bridge", rule: string): boolean {
  const script = `table ${family} clearline-probe {
  chain probe {
    type filter hook prerouting priority -290; policy accept;
    ${rule}
  }
}
`;
  try {
    runProgram(["nft", "-c", "-f", "-"], script);
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** The named counters of one table. Empty when there is no such table. Throws ConfigError. */
export async function readCounters(family: "inet" | "bridge", table: string): Promise<ReadonlyMap<string, Count>> {
  const counts = new Map<string, Count>();
  const { nftables } = JSON.parse(await readProgram(["nft", "-j", "list", "counters"])) as {
    nftables: readonly { counter?: Count & { family: string; table: string; name: string } }[];
  };
  for (const { counter } of nftables) {
    if (counter?.family !== family || counter.table !== table) continue;
    counts.set(counter.name, { packets: counter.packets, bytes: counter.bytes });
  }
  return counts;
}

/** The elements of a set with counters, by their keys: the numbers and names of a concatenation. Throws ConfigError. */
export async function readCountedSet(
  family: "inet" | "bridge",
  table: string,
  set: string,
): Promise<readonly (Count & { readonly key: readonly unknown[] })[]> {
  const { nftables } = JSON.parse(await readProgram(["nft", "-j", "list", "set", family, table, set])) as {
    nftables: readonly { set?: { elem?: readonly { elem?: { val?: { concat?: unknown[] }; counter?: Count } }[] } }[];
  };
  const elements = nftables.flatMap(({ set }) => set?.elem ?? []);
  return elements.flatMap(({ elem }) => {
    const { val, counter } = elem ?? {};
    return val?.concat && counter ? [{ key: val.concat, packets: counter.packets, bytes: counter.bytes }] : [];
  });
}
