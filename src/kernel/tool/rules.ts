import { hex } from "../../vocabulary.ts";
import {
  ACCEPTING,
  acceptingPort,
  HEARTBEAT,
  MARK,
  markAtA,
  type Owner,
  queueOf,
  type ToolInterfaces,
} from "./numbers.ts";

/** The first packet of a connection: RFC 9293, section 3.5. */
const NEW = "tcp flags & (fin|syn|rst|ack) == syn";
/** The two ends of a connection, as a map's key. */
const ENDS = {
  ip: "ip saddr . tcp sport . ip daddr . tcp dport",
  ip6: "ip6 saddr . tcp sport . ip6 daddr . tcp dport",
} as const;
/**
 * Seconds for which the kernel awaits at B a connection that left at A. Each retransmitted SYN starts them again. TCP gives up
 * later, but the gaps between its SYNs are shorter.
 */
const AWAITED = 40;
/** The most connections of one owner that are awaited at one time. */
const MOST_AWAITED = 65_536;

/**
 * The rules of a tool's namespace. When a connection leaves at A, the kernel notes its ends and its owner. A SYN that comes back at B
 * with these ends is queued for that worker, which knows the session. Other packets that come in belong to a live connection, or are
 * dropped and counted. Only packets of the node's own sockets leave, each at its own side.
 */
export function writeToolRules(
  { interfaceA, interfaceB }: Pick<ToolInterfaces, "interfaceA" | "interfaceB">,
  { workers, nftQueue }: { readonly workers: number; readonly nftQueue: boolean },
): string {
  const each = Array.from({ length: workers }, (_, worker) => worker);
  const owners = [...each, HEARTBEAT];
  return `table inet clearline {
${lines(owners, awaitedSets)}
  counter strangers { }
  chain leave {
    type filter hook output priority mangle; policy drop;
    oifname "${interfaceA}" meta mark & ${hex(MARK.SIDE)} == ${hex(MARK.A)} goto note
    oifname "${interfaceB}" meta mark & ${hex(MARK.SIDE)} == ${hex(MARK.B)} accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
  chain note {
    tcp flags & (fin|syn|rst|ack) != syn accept
${lines(owners, noteRules)}
    accept
  }
  chain know {
    type filter hook prerouting priority raw - 10; policy accept;
    meta mark set 0
    iifname "${interfaceB}" ${NEW} goto pair
  }
  chain pair {
${lines(owners, pairRules)}
    meta mark 0 counter name "strangers" drop
${nftQueue ? lines(each, (worker) => [`meta mark ${hex(markAtA(worker))} queue num ${queueOf(worker)}`]) : ""}
  }
  chain come {
    type filter hook prerouting priority mangle; policy drop;
    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    meta l4proto != tcp drop
    ip daddr ${ACCEPTING[4]} counter name "strangers" drop
    iifname "${interfaceB}" ${NEW} goto accept-by
    socket transparent 1 accept
    # A late RST of a connection that has just ended.
    tcp flags & rst == rst drop
    counter name "strangers" drop
  }
  chain accept-by {
${lines(owners, acceptRules)}
    drop
  }
}
`;
}

/** A set for each owner: nft 1.0.6 cannot write a map whose key is two IPv6 addresses and two ports. */
function awaitedSets(owner: Owner): string[] {
  return [4, 6].map((family) => {
    const type = `ipv${family}_addr . inet_service . ipv${family}_addr . inet_service`;
    return `set awaited${family}-${owner} { type ${type}; size ${MOST_AWAITED}; flags dynamic,timeout; }`;
  });
}

function noteRules(owner: Owner): string[] {
  const is = `meta mark ${hex(markAtA(owner))}`;
  return [
    `${is} update @awaited4-${owner} { ${ENDS.ip} timeout ${AWAITED}s }`,
    `${is} update @awaited6-${owner} { ${ENDS.ip6} timeout ${AWAITED}s }`,
  ];
}

function pairRules(owner: Owner): string[] {
  const set = `meta mark set ${hex(markAtA(owner))}`;
  return [`${ENDS.ip} @awaited4-${owner} ${set}`, `${ENDS.ip6} @awaited6-${owner} ${set}`];
}

function acceptRules(owner: Owner): string[] {
  const is = `meta mark ${hex(markAtA(owner))} meta l4proto tcp`;
  const port = acceptingPort(owner);
  return [`${is} tproxy ip to ${ACCEPTING[4]}:${port} accept`, `${is} tproxy ip6 to [${ACCEPTING[6]}]:${port} accept`];
}

function lines(owners: readonly Owner[], write: (owner: Owner) => readonly string[]): string {
  return owners.flatMap((owner) => write(owner).map((line) => `    ${line}`)).join("\n");
}
