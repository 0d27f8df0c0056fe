/** One Ethernet frame, parsed as far as the claims need. */
export interface Frame {
  /** ms since the epoch, with a fraction. */
  readonly time: number;
  readonly bytes: Buffer;
  /** The payload's type: behind the VLAN tag, if there is one. */
  readonly etherType: number;
  readonly vlan: number | undefined;
  readonly ip: IpPacket | undefined;
}

export interface IpPacket {
  readonly version: 4 | 6;
  readonly source: string;
  readonly destination: string;
  /** TTL in IPv4. */
  readonly hopLimit: number;
  /** TOS in IPv4: DSCP and ECN. */
  readonly trafficClass: number;
  /** IPv6: the next header of the fixed header. */
  readonly protocol: number;
  /** The packet as hex, without the fields that every router changes: the hop limit and IPv4's header checksum. */
  readonly constant: string;
  readonly tcp: TcpSegment | undefined;
}

export interface TcpSegment {
  readonly from: number;
  readonly to: number;
  readonly sequence: number;
  /** In the order of RFC 9293: "S", "SA", "RA", "PA"… */
  readonly flags: string;
  readonly payload: Buffer;
}

const VLAN = 0x8100;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TCP = 6;

export function readFrame(time: number, bytes: Buffer): Frame {
  const outer = bytes.readUInt16BE(12);
  const tagged = outer === VLAN;
  const etherType = tagged ? bytes.readUInt16BE(16) : outer;
  return {
    time,
    bytes,
    etherType,
    vlan: tagged ? bytes.readUInt16BE(14) & 0xfff : undefined,
    ip: readIp(etherType, bytes.subarray(tagged ? 18 : 14)),
  };
}

function readIp(etherType: number, packet: Buffer): IpPacket | undefined {
  if (etherType === IPV4) {
    const whole = packet.subarray(0, packet.readUInt16BE(2));
    const header = (whole[0]! & 15) * 4;
    const constant = Buffer.from(whole);
    constant.fill(0, 8, 9).fill(0, 10, 12);
    return {
      version: 4,
      source: whole.subarray(12, 16).join("."),
      destination: whole.subarray(16, 20).join("."),
      hopLimit: whole[8]!,
      trafficClass: whole[1]!,
      protocol: whole[9]!,
      constant: constant.toString("hex"),
      tcp: whole[9] === TCP ? readTcp(whole.subarray(header)) : undefined,
    };
  }
  if (etherType === IPV6) {
    const whole = packet.subarray(0, 40 + packet.readUInt16BE(4));
    const constant = Buffer.from(whole);
    constant.fill(0, 7, 8);
    return {
      version: 6,
      source: writeIpv6(whole.subarray(8, 24)),
      destination: writeIpv6(whole.subarray(24, 40)),
      hopLimit: whole[7]!,
      trafficClass: (whole.readUInt16BE(0) >> 4) & 0xff,
      protocol: whole[6]!,
      constant: constant.toString("hex"),
      tcp: whole[6] === TCP ? readTcp(whole.subarray(40)) : undefined,
    };
  }
  return undefined;
}

const FLAGS = "FSRPAUEC";

function readTcp(segment: Buffer): TcpSegment {
  return {
    from: segment.readUInt16BE(0),
    to: segment.readUInt16BE(2),
    sequence: segment.readUInt32BE(4),
    flags: [...FLAGS].filter((_, bit) => (segment[13]! & (1 << bit)) !== 0).join(""),
    payload: segment.subarray((segment[12]! >> 4) * 4),
  };
}

/** The text form of RFC 5952, in which the lab's addresses are written. */
function writeIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(group * 2).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
