import { hex } from "../../vocabulary.ts";
import type { Lane } from "./lane.ts";
import { CODE, KIND, LANDED, LOCAL_KIND, markOf } from "./marks.ts";
import { chain, HOOK, kindMatch, NEW, type RuleContext } from "./rule-writing.ts";

/** Packets that have come in for this machine. */
export function inputChains(w: RuleContext): string[] {
  const ports = w.lanes.map(({ sharedPort, workerPorts }) => `${sharedPort}-${workerPorts.at(-1)}`).join(", ");
  return [
    "# The workers' ports are for steered connections. A connection to such a port from outside would be steered to itself.",
    ...chain("guard", [
      HOOK.guard,
      `${NEW} tcp dport { ${ports} } ${kindMatch(w, CODE.LOCAL_A, KIND, "!=")} reject with tcp reset`,
    ]),
    "# The kernel copies the mark of a packet into its own reply to it. The reply must leave this machine.",
    ...chain("landed", [
      HOOK.landed,
      `${kindMatch(w, CODE.LOCAL_A, LOCAL_KIND)} meta mark set meta mark ^ ${hex(markOf(LANDED, w.markShift))}`,
    ]),
  ];
}

/** Packets that the kernel itself sends for us: replies to clients, and errors for Nb. */
export function outputChains(w: RuleContext): string[] {
  const bridges = w.lanes.filter(({ bridge }) => bridge !== undefined);
  return [
    ...(w.features.notrack
      ? chain("untracked", [
          HOOK.untracked,
          `${kindMatch(w, CODE.SIDE_A, KIND)} notrack`,
          `${kindMatch(w, CODE.LOCAL_A, KIND)} notrack`,
          // While the table of connections is full, the node still answers who asks it from this machine.
          ...["dport", "sport"].map((port) => `oifname "lo" tcp ${port} ${w.apiPort} notrack`),
        ])
      : []),
    "# When a server answers no ARP, the kernel would send the error to the client, because Nb has the client's address.",
    ...chain("unreached", [
      HOOK.unreached,
      ...["icmp", "icmpv6"].map(
        (icmp) =>
          `${kindMatch(w, CODE.SIDE_B, KIND)} ${icmp} type destination-unreachable ${w.set(CODE.UNREACHED)} accept`,
      ),
    ]),
    ...(bridges.length === 0 ? [] : chain("silence", [HOOK.silence, ...bridges.flatMap((lane) => silence(w, lane))])),
  ];
}

/**
 * Hosts on a bridge must not see the node's address: it sends no redirects, and a destination-unreachable error gets the server's
 * address as its source. That is the destination of the packet that the error quotes: RFC 792, and RFC 4443, section 3.1.
 */
function silence(w: RuleContext, { index, bridge }: Lane): string[] {
  const answer = w.is(CODE.SIDE_A + index);
  return [
    `oifname "${bridge?.name}" icmp type redirect drop`,
    `oifname "${bridge?.name}" icmpv6 type nd-redirect drop`,
    `${answer} icmp type destination-unreachable ip saddr set @th,192,32`,
    `${answer} icmpv6 type destination-unreachable ip6 saddr set @th,256,128`,
  ];
}
