import { hex } from "../../vocabulary.ts";
import type { Lane } from "./lane.ts";
import { CODE, KIND, LANDED, LOCAL_KIND, markOf } from "./marks.ts";
import { chain, HOOK, kindMatch, NEW, type Writing } from "./rule-writing.ts";

/** What has come in for this machine. */
export function inputChains(w: Writing): string[] {
  const ports = w.lanes.map(({ sharedPort, workerPorts }) => `${sharedPort}-${workerPorts.at(-1)}`).join(", ");
  return [
    "# The workers' ports are for steered connections: who connects to one directly would be sent round in circles.",
    ...chain("guard", [
      HOOK.guard,
      `${NEW} tcp dport { ${ports} } ${kindMatch(w, CODE.LOCAL_A, KIND, "!=")} reject with tcp reset`,
    ]),
    "# What the kernel itself answers has the mark of what it answers, and must leave this machine.",
    ...chain("landed", [
      HOOK.landed,
      `${kindMatch(w, CODE.LOCAL_A, LOCAL_KIND)} meta mark set meta mark ^ ${hex(markOf(LANDED, w.markShift))}`,
    ]),
  ];
}

/** What the kernel itself sends for us: answers to clients, and errors that are for Nb. */
export function outputChains(w: Writing): string[] {
  const bridges = w.lanes.filter(({ bridge }) => bridge !== undefined);
  return [
    ...(w.features.notrack
      ? chain("untracked", [
          HOOK.untracked,
          `${kindMatch(w, CODE.SIDE_A, KIND)} notrack`,
          `${kindMatch(w, CODE.LOCAL_A, KIND)} notrack`,
        ])
      : []),
    "# That a server answers no ARP, the kernel would tell the client, whose address Nb has.",
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
 * A bridge has no address to the hosts on it. It does not tell them of a shorter way, and that a server cannot be reached is
 * said in the server's name: RFC 792 and RFC 4443, section 3.1, the address in the packet that is quoted.
 */
function silence(w: Writing, { index, bridge }: Lane): string[] {
  const answer = w.is(CODE.SIDE_A + index);
  return [
    `oifname "${bridge?.name}" icmp type redirect drop`,
    `oifname "${bridge?.name}" icmpv6 type nd-redirect drop`,
    `${answer} icmp type destination-unreachable ip saddr set @th,192,32`,
    `${answer} icmpv6 type destination-unreachable ip6 saddr set @th,256,128`,
  ];
}
