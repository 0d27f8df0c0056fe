import { readFrame } from "./frame.ts";
import type { Family, Topology } from "./network.ts";

/** A frame to send. */
export interface Crafted {
  readonly name: string;
  readonly bytes: Buffer;
  /** The part that a router must not change; undefined if it is not IP. */
  readonly constant: string | undefined;
  /** The only topology in which it crosses the node: routers do not forward it. */
  readonly only?: Topology;
}

export interface Way {
  readonly from: Readonly<Record<Family, string>>;
  readonly to: Readonly<Record<Family, string>>;
  /** Hardware addresses of the sender and of the next hop. */
  readonly source: Buffer;
  readonly next: Buffer;
}

const BROADCAST = Buffer.alloc(6, 0xff);
const TYPE = {
  ...{ ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, own: 0x88b5, qinq: 0x88a8 },
  ...{ slow: 0x8809, lldp: 0x88cc, eapol: 0x888e, mpls: 0x8847, pppoe: 0x8864, ptp: 0x88f7, macsec: 0x88e5 },
  ...{ profinet: 0x8892, ethercat: 0x88a4, wake: 0x0842, ipx: 0x8137, appletalk: 0x809b, fcoe: 0x8906, goose: 0x88b8 },
} as const;
const PROTOCOL = {
  ...{ icmp: 1, igmp: 2, ipip: 4, tcp: 6, udp: 17, dccp: 33, ipv6: 41, rsvp: 46, gre: 47, esp: 50, ah: 51, icmpv6: 58 },
  ...{ none: 59, eigrp: 88, ospf: 89, pim: 103, vrrp: 112, l2tp: 115, sctp: 132, udplite: 136, unassigned: 253 },
} as const;
/** IEEE 802.1Q, table 8-1: addresses that ordinary bridges do not forward. */
const GROUP = (last: number) => Buffer.from([0x01, 0x80, 0xc2, 0, 0, last]);
const VLAN = Buffer.from([0x20, 77]); // priority 1, VLAN 77
const MORE_FRAGMENTS = 0x2000;

/** One frame of each kind that the node must let pass: everything except TCP over IP without a VLAN tag. */
export function craft({ from, to, source, next }: Way): readonly Crafted[] {
  const frame = (name: string, type: number, payload: Buffer, more: Partial<Crafted> & { toward?: Buffer } = {}) => {
    const { toward = next, ...rest } = more;
    const bytes = Buffer.concat([toward, source, word(type), payload]);
    return { name, bytes, constant: readFrame(0, bytes).ip?.constant, ...rest };
  };
  const v4 = (protocol: number, payload: Buffer, more: Partial<Ipv4> = {}) =>
    ipv4({ from: from[4], to: to[4], protocol, options: Buffer.alloc(0), fragment: 0, ...more }, payload);
  const v6 = (protocol: number, payload: Buffer) => ipv6(from[6], to[6], protocol, payload);
  const tag = (type: number, payload: Buffer) => Buffer.concat([VLAN, word(type), payload]);
  const bridged = { only: "bridge" } as const;
  const syn = tcpSegment({ from: from[4], to: to[4], source: 40_000, target: 443 });
  const udpInside = Buffer.concat([word(0), word(TYPE.ipv4), v4(PROTOCOL.udp, udp(text("behind priority tags")))]);
  const listener = Buffer.concat([word(0), word(1), Buffer.from([4, 0, 0, 0]), address("ff02::77")]);
  const half = text("the first half of a datagram, of 64 bytes, as fragments must be.");
  return [
    frame("ICMP", TYPE.ipv4, v4(PROTOCOL.icmp, echo(8, text("ping, with a payload of its own")))),
    frame("ICMPv6", TYPE.ipv6, v6(PROTOCOL.icmpv6, echo6(from[6], to[6], text("the same of IPv6")))),
    frame("UDP", TYPE.ipv4, v4(PROTOCOL.udp, udp(text("a datagram without a checksum")))),
    frame("UDP with a wrong checksum", TYPE.ipv4, v4(PROTOCOL.udp, udp(text("nobody's to mend"), 0xbad))),
    frame("UDP over IPv6", TYPE.ipv6, v6(PROTOCOL.udp, udp(text("and of IPv6"), 0xbad))),
    frame("IPv4 options", TYPE.ipv4, v4(PROTOCOL.udp, udp(text("padded")), { options: Buffer.from([1, 1, 1, 0]) })),
    frame("GRE", TYPE.ipv4, v4(PROTOCOL.gre, Buffer.concat([word(0), word(TYPE.own), text("in a tunnel")]))),
    frame("GRE over IPv6", TYPE.ipv6, v6(PROTOCOL.gre, Buffer.concat([word(0), word(TYPE.own), text("in a tunnel")]))),
    frame("SCTP", TYPE.ipv4, v4(PROTOCOL.sctp, Buffer.concat([word(7), word(7), text("no such association")]))),
    frame("a protocol without a name", TYPE.ipv4, v4(PROTOCOL.unassigned, text("RFC 3692"))),
    frame("a fragment", TYPE.ipv4, v4(PROTOCOL.udp, udp(half.subarray(8)), { fragment: MORE_FRAGMENTS }), bridged),
    frame("ARP", TYPE.arp, arp(from[4], to[4], source), { ...bridged, toward: BROADCAST }),
    frame(
      "neighbour discovery",
      TYPE.ipv6,
      v6(PROTOCOL.icmpv6, report6(135, Buffer.concat([word(0), word(0), address(to[6])]))),
      bridged,
    ),
    frame(
      "MLD",
      TYPE.ipv6,
      ipv6(from[6], "ff02::16", HOP_BY_HOP, Buffer.concat([ROUTER_ALERT, report6(143, listener)])),
      {
        ...bridged,
        toward: Buffer.from("333300000016", "hex"),
      },
    ),
    frame(
      "IPv6 fragment",
      TYPE.ipv6,
      v6(IPV6_FRAGMENT, Buffer.concat([Buffer.from([17, 0, 0, 1, 0, 0, 0, 9]), udp(half.subarray(8))])),
      bridged,
    ),
    frame("two priority tags", TYPE.vlan, Buffer.concat([word(0), word(TYPE.vlan), udpInside]), bridged),
    frame("VLAN-tagged UDP", TYPE.vlan, tag(TYPE.ipv4, v4(PROTOCOL.udp, udp(text("tagged")))), bridged),
    frame("VLAN-tagged TCP", TYPE.vlan, tag(TYPE.ipv4, v4(PROTOCOL.tcp, syn)), bridged),
    frame("VLAN-tagged ARP", TYPE.vlan, tag(TYPE.arp, arp(from[4], to[4], source)), { ...bridged, toward: BROADCAST }),
    ...(["igmp", "ipip", "dccp", "rsvp", "esp", "ah", "eigrp", "ospf", "pim", "vrrp", "l2tp", "udplite"] as const).map(
      (name) =>
        frame(`IP protocol ${PROTOCOL[name]} (${name})`, TYPE.ipv4, v4(PROTOCOL[name], text(`${name}, 16 bytes+`))),
    ),
    ...(["ospf", "esp", "none"] as const).map((name) =>
      frame(`IPv6 next header ${PROTOCOL[name]} (${name})`, TYPE.ipv6, v6(PROTOCOL[name], text(`${name} of IPv6`))),
    ),
    ...(
      ["mpls", "pppoe", "ptp", "macsec", "profinet", "ethercat", "wake", "ipx", "appletalk", "fcoe", "goose"] as const
    ).map((name) =>
      frame(`EtherType ${name}`, TYPE[name], text(`a frame of ${name}, with more than 46 bytes of payload`), bridged),
    ),
    frame("STP", 39, Buffer.from("4242030000000000".padEnd(78, "00"), "hex"), { ...bridged, toward: GROUP(0) }),
    frame("LACP", TYPE.slow, Buffer.from("0101".padEnd(220, "01"), "hex"), { ...bridged, toward: GROUP(2) }),
    frame("802.1X", TYPE.eapol, text("EAPOL, of more than 46 bytes of payload, as Ethernet"), {
      ...bridged,
      toward: GROUP(3),
    }),
    frame("LLDP", TYPE.lldp, text("LLDP, of more than 46 bytes of payload, as Ethernet "), {
      ...bridged,
      toward: GROUP(14),
    }),
    frame("QinQ-tagged UDP", TYPE.qinq, tag(TYPE.vlan, tag(TYPE.ipv4, v4(PROTOCOL.udp, udp(text("twice"))))), bridged),
    frame("an EtherType of nobody's", TYPE.own, text("local experiment, of more than 46 bytes of payload"), bridged),
  ];
}

/** A whole SYN, or its two fragments, between two hosts. */
export interface CraftedSyn {
  readonly from: string;
  readonly to: string;
  readonly source: number;
  readonly target: number;
  /** Of the TCP header: 2 is SYN, 3 is SYN and FIN. */
  readonly flags?: number;
}

/** The frames of one TCP packet without payload, in IP fragments. The first has the whole fixed header, as RFC 8200 demands. */
export function synInFragments(syn: CraftedSyn, hardware: Pick<Way, "source" | "next">): readonly Buffer[] {
  const segment = tcpSegment(syn);
  const parts = [segment.subarray(0, 24), segment.subarray(24)] as const;
  const last = parts[0].length;
  return parts.map((part, index) => {
    const more = index === 0;
    const offset = more ? 0 : last;
    if (!syn.from.includes(":")) {
      const fragment = (more ? MORE_FRAGMENTS : 0) | (offset / 8);
      const options = { from: syn.from, to: syn.to, protocol: PROTOCOL.tcp, options: Buffer.alloc(0), fragment };
      return ethernet(hardware, TYPE.ipv4, ipv4(options, part));
    }
    // RFC 8200, section 4.5: next header, reserved, offset and flag, identification.
    const header = Buffer.from([PROTOCOL.tcp, 0, 0, 0, 0x12, 0x34, 0x56, 0x78]);
    header.writeUInt16BE(offset | (more ? 1 : 0), 2);
    return ethernet(hardware, TYPE.ipv6, ipv6(syn.from, syn.to, IPV6_FRAGMENT, Buffer.concat([header, part])));
  });
}

/** The same frame with a priority and without a VLAN: IEEE 802.1Q, clause 6.9.1. */
export function withPriority(frame: Buffer, priority = 5): Buffer {
  return withTags(frame, [priority << 13]);
}

/** The same frame behind these tags, the outermost first. */
export function withTags(frame: Buffer, tags: readonly number[], outerType: number = TYPE.vlan): Buffer {
  const words = tags.flatMap((tag, index) => [word(index === 0 ? outerType : TYPE.vlan), word(tag)]);
  return Buffer.concat([frame.subarray(0, 12), ...words, frame.subarray(12)]);
}

/** The same packet in LLC/SNAP framing: RFC 1042. */
export function inSnap(frame: Buffer): Buffer {
  const snap = Buffer.from([0xaa, 0xaa, 3, 0, 0, 0]);
  return Buffer.concat([frame.subarray(0, 12), word(snap.length + frame.length - 12), snap, frame.subarray(12)]);
}

/** The frame of one TCP packet without payload. */
export function tcpFrame(syn: CraftedSyn, hardware: Pick<Way, "source" | "next">): Buffer {
  const segment = tcpSegment(syn);
  if (syn.from.includes(":")) return ethernet(hardware, TYPE.ipv6, ipv6(syn.from, syn.to, PROTOCOL.tcp, segment));
  const options = { from: syn.from, to: syn.to, protocol: PROTOCOL.tcp, options: Buffer.alloc(0), fragment: 0 };
  return ethernet(hardware, TYPE.ipv4, ipv4(options, segment));
}

/** The frame of a UDP packet with this payload. */
export function udpFrame(from: string, to: string, payload: string, hardware: Pick<Way, "source" | "next">): Buffer {
  const options = { from, to, protocol: PROTOCOL.udp, options: Buffer.alloc(0), fragment: 0 };
  return ethernet(hardware, TYPE.ipv4, ipv4(options, udp(text(payload))));
}

const [HOP_BY_HOP, IPV6_FRAGMENT] = [0, 44];
/** A hop-by-hop header in front of ICMPv6: RFC 2711. */
const ROUTER_ALERT = Buffer.from([58, 0, 5, 2, 0, 0, 1, 0]);

function ethernet({ source, next }: Pick<Way, "source" | "next">, type: number, payload: Buffer): Buffer {
  return Buffer.concat([next, source, word(type), payload]);
}

interface Ipv4 {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  /** A multiple of four bytes. */
  readonly options: Buffer;
  /** The flags and the offset. */
  readonly fragment: number;
}

function ipv4({ from, to, protocol, options, fragment }: Ipv4, payload: Buffer): Buffer {
  const header = Buffer.alloc(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(0x1234, 4);
  header.writeUInt16BE(fragment, 6);
  header[8] = 64;
  header[9] = protocol;
  address(from).copy(header, 12);
  address(to).copy(header, 16);
  options.copy(header, 20);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

function ipv6(from: string, to: string, protocol: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = protocol;
  header[7] = 64;
  address(from).copy(header, 8);
  address(to).copy(header, 24);
  return Buffer.concat([header, payload]);
}

function echo(type: number, payload: Buffer): Buffer {
  const message = Buffer.concat([Buffer.from([type, 0, 0, 0, 0x12, 0x34, 0, 1]), payload]);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

function echo6(from: string, to: string, payload: Buffer): Buffer {
  const message = Buffer.concat([Buffer.from([128, 0, 0, 0, 0x12, 0x34, 0, 1]), payload]);
  message.writeUInt16BE(checksum(pseudo(from, to, PROTOCOL.icmpv6, message)), 2);
  return message;
}

/** A message of ICMPv6 whose checksum nobody on the way looks at. */
function report6(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, 0, 0xab, 0xcd]), body]);
}

/** From and to ports that nobody has. Zero: no checksum. */
function udp(payload: Buffer, sum = 0): Buffer {
  return Buffer.concat([word(40_001), word(40_002), word(8 + payload.length), word(sum), payload]);
}

/** With 20 bytes of options, so that it can be cut in two behind its fixed header. */
function tcpSegment({ from, to, source, target, flags = 2 }: CraftedSyn): Buffer {
  const segment = Buffer.alloc(40, 1);
  segment.fill(0, 0, 20);
  segment.writeUInt16BE(source, 0);
  segment.writeUInt16BE(target, 2);
  segment.writeUInt32BE(source * 65_537, 4);
  segment[12] = 10 << 4;
  segment[13] = flags;
  segment.writeUInt16BE(64_240, 14);
  segment.writeUInt16BE(checksum(pseudo(from, to, PROTOCOL.tcp, segment)), 16);
  return segment;
}

function arp(from: string, to: string, source: Buffer): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, 1]);
  return Buffer.concat([head, source, address(from), Buffer.alloc(6), address(to), Buffer.alloc(18)]);
}

/** What the checksums of TCP and ICMPv6 cover beside the message: RFC 9293, section 3.1; RFC 8200, section 8.1. */
function pseudo(from: string, to: string, protocol: number, message: Buffer): Buffer {
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(message.length, 0);
  sizes[7] = protocol;
  return Buffer.concat([address(from), address(to), sizes, message]);
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** Of the lab's addresses: IPv6 ones have one "::". */
function address(text: string): Buffer {
  if (!text.includes(":")) return Buffer.from(text.split(".").map(Number));
  const [head = "", tail = ""] = text.split("::");
  const groups = (part: string) =>
    part
      .split(":")
      .filter(Boolean)
      .map((group) => word(Number.parseInt(group, 16)));
  const [first, last] = [Buffer.concat(groups(head)), Buffer.concat(groups(tail))];
  return Buffer.concat([first, Buffer.alloc(16 - first.length - last.length), last]);
}

function word(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function text(words: string): Buffer {
  return Buffer.from(words);
}
