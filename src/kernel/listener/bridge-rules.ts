import type { Lane } from "./lane.ts";
import { CODE } from "./marks.ts";
import { liveSets } from "./policy-rows.ts";
import { chain, count, dropImpossible, NEW, newChains, type RuleContext, rowRules, unlisted } from "./rule-writing.ts";

/** Rules for frames on a bridge. Frames that may be Clearline's are lifted to the IP rules; all others cross the bridge unchanged. */
export function bridgeChains(w: RuleContext): string[] {
  const lanes = w.lanes.filter(({ bridge }) => bridge !== undefined);
  return [
    ...lanes.flatMap((lane) => [
      ...chain(`lift-${lane.index}`, [`meta pkttype set host ether daddr set ${lane.bridge?.mac} accept`]),
      ...newChains(w, lane, "bridge", `goto lift-${lane.index}`),
      ...sideChain(w, lane, "a"),
      ...sideChain(w, lane, "b"),
    ]),
    ...chain("frames", [
      "type filter hook prerouting priority dstnat; policy accept;",
      // Tagged frames, ARP and everything else that is not IP cross the bridge.
      "ether type != { ip, ip6 } accept",
      ...lanes.flatMap(({ index, listener }) => [
        `iifname "${listener.networkA}" goto side-a-${index}`,
        `iifname "${listener.networkB}" goto side-b-${index}`,
      ]),
    ]),
  ];
}

/** The frames from one side. Connections that the network phase bypasses are not lifted, in either direction. */
function sideChain(w: RuleContext, lane: Lane, side: "a" | "b"): string[] {
  const code = (side === "a" ? CODE.SIDE_A : CODE.SIDE_B) + lane.index;
  // In the IP rules every packet comes in by the bridge: the mark keeps its side.
  const lift = `${w.set(code)} goto lift-${lane.index}`;
  const quic =
    lane.listener.blockQuic && side === "a"
      ? [`udp dport 443 ${count(w, lane, "bridge", "quic")} ${w.set(CODE.QUIC)} goto lift-${lane.index}`]
      : [];
  const entry = chain(`side-${side}-${lane.index}`, [
    ...quic,
    // RFC 792 and RFC 4443, section 3: an error that quotes TCP (6) belongs to a socket of ours, or is forwarded.
    `icmp type { destination-unreachable, time-exceeded } @th,136,8 6 ${lift}`,
    `icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } @th,112,8 6 ${lift}`,
    // Behind these headers a later fragment may hide that it is TCP (RFC 8200, section 4.5).
    `frag nexthdr { 0, 43, 44, 51, 60, 135 } ${lift}`,
    // A malformed IP packet has no protocol: it crosses the bridge.
    `meta l4proto tcp goto tcp-${side}-${lane.index}`,
  ]);
  const tcp = chain(`tcp-${side}-${lane.index}`, [
    "ip6 saddr fe80::/10 accept",
    "ip6 daddr fe80::/10 accept",
    // Only the first fragment has the ports. The IP rules see whole packets, and judge those that begin a connection.
    `ip frag-off & 0x3fff != 0 ${lift}`,
    `exthdr frag exists ${lift}`,
    ...dropImpossible(w, lane, "bridge"),
    ...unlisted(lane, side === "a" ? "dport" : "sport"),
    ...(side === "a" ? [`${NEW} goto new-${lane.index}`] : []),
    ...liveSets(w.live)
      .matches(side)
      .map((match) => `${match} ${lift}`),
    ...rowRules(w, lane, side, (row) => (row.action === "bypass" ? "accept" : lift)),
    lift,
  ]);
  return [...tcp, ...entry];
}
