/** What an IP header says about a packet's way. */
export interface IpHeader {
  /** TTL or, in IPv6, hop limit. */
  readonly hopLimit: number;
  /** TOS or, in IPv6, traffic class: the DSCP (RFC 2474), without the two bits of ECN. */
  readonly trafficClass: number;
}

/** The ends of a TCP packet without payload: a SYN, the answer to it, or a RST. */
export interface Segment {
  readonly family: 4 | 6;
  readonly header: IpHeader;
  readonly source: { readonly address: string; readonly port: number };
  readonly destination: { readonly address: string; readonly port: number };
  /** A SYN's tells a retransmitted one from a new one with the same ends. */
  readonly sequence: number;
}

const TCP = 6;
/** Up to and with the flags: RFC 9293, section 3.1. */
const TCP_HEADER_READ = 14;
const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

/**
 * Reads a SYN, the first packet of a TCP connection, from its IP header on. Addresses are written as Node writes those of a socket.
 * Undefined: the packet is no SYN, or malformed. The packet may be cut anywhere after the TCP flags.
 */
export function readSyn(packet: Buffer): Segment | undefined {
  return readSegment(packet, (flags) => (flags & (FIN | SYN | RST | ACK)) === SYN);
}

/** Reads the answer to a SYN in the same way. */
export function readSynAck(packet: Buffer): Segment | undefined {
  return readSegment(packet, (flags) => (flags & (FIN | SYN | RST | ACK)) === (SYN | ACK));
}

/** Reads a RST in the same way. */
export function readReset(packet: Buffer): Segment | undefined {
  return readSegment(packet, (flags) => (flags & RST) !== 0);
}

/** Of a packet, from its IP header on. Undefined: it has none. */
export function readIpHeader(packet: Buffer): IpHeader | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (packet.length < 20 || (version !== 4 && version !== 6)) return undefined;
  if (version === 4) return { hopLimit: packet[8]!, trafficClass: packet[1]! & DSCP };
  return { hopLimit: packet[7]!, trafficClass: (packet.readUInt16BE(0) >> 4) & DSCP };
}

const DSCP = 0xfc;

type Wanted = (flags: number) => boolean;

function readSegment(packet: Buffer, isWanted: Wanted): Segment | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4) return readV4(packet, isWanted);
  return version === 6 ? readV6(packet, isWanted) : undefined;
}

/** RFC 791, section 3.1. */
function readV4(packet: Buffer, isWanted: Wanted): Segment | undefined {
  const start = (packet[0]! & 15) * 4;
  if (start < 20 || packet.length < start + TCP_HEADER_READ) return undefined;
  // Only a first fragment starts with the TCP header.
  if (packet[9] !== TCP || (packet.readUInt16BE(6) & 0x1fff) !== 0) return undefined;
  return readTcp(packet, start, isWanted, 4, formatV4(packet, 12), formatV4(packet, 16));
}

const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** Hop-by-hop options, routing, destination options: RFC 8200, section 4. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, FRAGMENT, AUTHENTICATION]);
/** No sender has a reason to send more. */
const MAX_EXTENSIONS = 8;

/** RFC 8200, section 3. */
function readV6(packet: Buffer, isWanted: Wanted): Segment | undefined {
  let next = packet[6];
  let at = 40;
  for (let count = 0; next !== TCP; count++) {
    if (next === undefined || !EXTENSIONS.has(next) || count === MAX_EXTENSIONS || packet.length < at + 8)
      return undefined;
    if (next === FRAGMENT && (packet.readUInt16BE(at + 2) & 0xfff8) !== 0) return undefined;
    const length = extensionLength(next, packet[at + 1]!);
    next = packet[at];
    at += length;
  }
  if (packet.length < at + TCP_HEADER_READ) return undefined;
  return readTcp(packet, at, isWanted, 6, formatV6(packet, 8), formatV6(packet, 24));
}

/** In bytes. The authentication header counts in units of four bytes: RFC 4302, section 2.2. */
function extensionLength(type: number, counted: number): number {
  if (type === FRAGMENT) return 8;
  return type === AUTHENTICATION ? (counted + 2) * 4 : (counted + 1) * 8;
}

function readTcp(
  packet: Buffer,
  at: number,
  isWanted: Wanted,
  family: 4 | 6,
  source: string,
  destination: string,
): Segment | undefined {
  if (!isWanted(packet[at + 13]!)) return undefined;
  const header = readIpHeader(packet);
  return (
    header && {
      family,
      header,
      source: { address: source, port: packet.readUInt16BE(at) },
      destination: { address: destination, port: packet.readUInt16BE(at + 2) },
      sequence: packet.readUInt32BE(at + 4),
    }
  );
}

function formatV4(bytes: Buffer, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** As inet_ntop writes it: without the longest run of zeros (RFC 5952), and with an embedded IPv4 address in dotted form. */
function formatV6(bytes: Buffer, at: number): string {
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 2 * i));
  const run = longestZeros(words);
  const hex = (part: number[]) => part.map((word) => word.toString(16)).join(":");
  if (run.length < 2) return hex(words);
  if (run.start === 0 && run.length === 5 && words[5] === 0xffff) return `::ffff:${formatV4(bytes, at + 12)}`;
  if (run.start === 0 && run.length === 6) return `::${formatV4(bytes, at + 12)}`;
  return `${hex(words.slice(0, run.start))}::${hex(words.slice(run.start + run.length))}`;
}

function longestZeros(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < words.length; start++) {
    let length = 0;
    while (words[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
