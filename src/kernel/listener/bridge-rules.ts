import { hiddenChain, seeHidden } from "./hidden-tcp.ts";
import type { Lane } from "./lane.ts";
import { CODE } from "./marks.ts";
import { noteOwnChain, ownChains, ownRules, passedChain, passedRules, pendingRules } from "./own-connections.ts";
import { passingChain, passingSet } from "./passing-vlans.ts";
import {
  chain,
  count,
  dropImpossible,
  dropUnsignedAnswers,
  heldResets,
  NEW,
  newChains,
  type RuleContext,
  rowRules,
  SYN_ACK,
  unlisted,
} from "./rule-writing.ts";
import { signedFrames } from "./signed-rules.ts";

/**
 * Rules for frames on the bridges of these listeners. Frames of our connections, and those that begin one, are lifted to the IP
 * rules; all others cross the bridge unchanged.
 */
export function bridgeChains(w: RuleContext, lanes: readonly Lane[]): string[] {
  return [
    ...lanes.flatMap((lane) => [
      ...chain(`lift-${lane.index}`, [`meta pkttype set host ether daddr set ${lane.bridge?.mac} accept`]),
      ...newChains(w, lane, "bridge", `goto lift-${lane.index}`),
      ...ownChains(w, lane),
      ...passedChain(lane),
      ...passingChain(lane),
      ...(["a", "b"] as const).flatMap((side) => [
        ...sideChain(w, lane, side),
        ...hiddenChain(w, lanes, lane, side, isTaken(lane) ? liftFrom(w, lane, side) : undefined),
      ]),
    ]),
    ...chain("frames", [
      "type filter hook prerouting priority dstnat; policy accept;",
      ...lanes.flatMap((lane) => [
        ...seeHidden(lane, "a", lane.listener.networkA),
        ...seeHidden(lane, "b", lane.listener.networkB),
        ...[lane.listener.networkA, lane.listener.networkB].flatMap((link) => tagged(w, lane, link)),
      ]),
      // ARP and everything else that is not IP crosses the bridge.
      "meta protocol != { ip, ip6 } accept",
      ...lanes
        .filter(isTaken)
        .flatMap(({ index, listener }) => [
          `iifname "${listener.networkA}" goto side-a-${index}`,
          `iifname "${listener.networkB}" goto side-b-${index}`,
        ]),
    ]),
    ...noteOwnChain(w, lanes),
  ];
}

/** Not a wire that is there for its VLANs only. */
function isTaken({ ports }: Lane): boolean {
  return ports?.length !== 0;
}

/** In the IP rules every packet comes in by the bridge: the mark keeps its side. */
function liftFrom(w: RuleContext, { index, listener }: Lane, side: "a" | "b"): string {
  const opens = side === "a" || listener.direction === "both";
  return `${w.set((opens ? CODE.SIDE_A : CODE.SIDE_B) + index)} goto lift-${index}`;
}

/**
 * Frames of a VLAN cross the bridge: IEEE 802.1Q and 802.1ad. A frame with VLAN 0 has a priority and belongs to no VLAN: it is
 * judged like one without a tag.
 */
function tagged(w: RuleContext, lane: Lane, link: string): string[] {
  const counted = `${count(w, lane, "bridge", "tagged")} accept`;
  // Not "vlan id": behind a set of types, nft reads it from the second tag.
  return [
    `iifname "${link}" ether type { 0x8100, 0x88a8 } jump ${passingSet(lane).set}`,
    `iifname "${link}" ether type { 0x8100, 0x88a8 } @ll,112,16 & 0x0fff != 0 ${counted}`,
    `iifname "${link}" meta protocol { 0x8100, 0x88a8 } ${counted}`,
  ];
}

/** The frames from one side. */
function sideChain(w: RuleContext, lane: Lane, side: "a" | "b"): string[] {
  const { index, listener } = lane;
  const opens = side === "a" || listener.direction === "both";
  const lift = liftFrom(w, lane, side);
  // Where both sides open connections, the sockets tell whom an error is for.
  const error = `${w.set((listener.direction === "both" || side === "b" ? CODE.SIDE_B : CODE.SIDE_A) + index)} goto lift-${index}`;
  const quic =
    listener.blockQuic && opens
      ? [`udp dport 443 ${count(w, lane, "bridge", "quic")} ${w.set(CODE.QUIC)} goto lift-${index}`]
      : [];
  const entry = chain(`side-${side}-${index}`, [
    ...quic,
    // RFC 792 and RFC 4443, section 3: an error that quotes TCP (6) belongs to a socket of ours, or is forwarded.
    `icmp type { destination-unreachable, time-exceeded } @th,136,8 6 ${error}`,
    `icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } @th,112,8 6 ${error}`,
    // Behind these headers a later fragment may hide that it is TCP (RFC 8200, section 4.5).
    `frag nexthdr { 0, 43, 44, 51, 60, 135 } ${lift}`,
    // A malformed IP packet has no protocol: it crosses the bridge.
    `meta l4proto tcp goto tcp-${side}-${index}`,
  ]);
  const tcp = chain(`tcp-${side}-${index}`, [
    // Only the first fragment has the ports. The IP rules see whole packets, and judge those that begin a connection.
    `ip frag-off & 0x3fff != 0 ${lift}`,
    `exthdr frag exists ${lift}`,
    dropImpossible(w, lane, "bridge"),
    `${NEW} ${opens ? `goto new-${index}` : `goto passed-${index}`}`,
    "ip6 saddr fe80::/10 accept",
    "ip6 daddr fe80::/10 accept",
    ...ownRules(lane),
    ...(opens ? [...heldResets(w, lane, "bridge"), ...pendingRules(w, lane)] : []),
    ...toOwnAddress(lane, lift),
    ...notOurs(w, lane, opens ? ["a", ...(listener.direction === "both" ? (["b"] as const) : [])] : ["b"]),
  ]);
  return [...tcp, ...entry];
}

/** The machine's own services, and the answers to what it asks by the bridge's own address. */
function toOwnAddress({ listener }: Lane, lift: string): string[] {
  return listener.addresses.map((subnet) => {
    const [address = ""] = subnet.split("/");
    return `${address.includes(":") ? "ip6" : "ip"} daddr ${address} ${lift}`;
  });
}

/**
 * Connections that are not ours: the network phase bypassed them, or they began before the node, or only one of their directions
 * crosses it. `from`: whether their sender may be the client ("a"), or the server ("b").
 */
function notOurs(w: RuleContext, lane: Lane, from: readonly ("a" | "b")[]): string[] {
  const reset = `${w.set(CODE.REFUSED)} goto lift-${lane.index}`;
  return [
    ...unlisted(
      lane,
      from.map((side) => (side === "a" ? "dport" : "sport")),
    ),
    ...from.flatMap((side) => rowRules(w, lane, side, (row) => (row.action === "bypass" ? "accept" : undefined))),
    ...passedRules(lane),
    ...dropUnsignedAnswers(w, lane, "bridge"),
    ...signedFrames(lane),
    `${SYN_ACK} ${count(w, lane, "bridge", "asymmetric")} accept`,
    `${count(w, lane, "bridge", "midStream")} ${lane.listener.midStream === "reset" ? reset : "accept"}`,
  ];
}
