import assert from "node:assert/strict";

/** What the tests read from the packets, written from the RFCs and apart from what writes them. */
export interface Packet {
  readonly from: string;
  readonly to: string;
  readonly flags: string;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly payload: Buffer;
}

/** Reads one IP packet and checks everything that a receiver would. */
export function readPacket(bytes: Buffer): Packet {
  const four = bytes[0]! >> 4 === 4;
  const header = four ? 20 : 40;
  const [source, target] = four
    ? [bytes.subarray(12, 16), bytes.subarray(16, 20)]
    : [bytes.subarray(8, 24), bytes.subarray(24, 40)];
  const tcp = bytes.subarray(header);
  if (four) {
    assert.equal(bytes.readUInt16BE(2), bytes.length, "the IPv4 total length");
    assert.equal(onesComplement(bytes.subarray(0, 20)), 0xffff, "the IPv4 header checksum");
  } else {
    assert.equal(bytes.readUInt16BE(4), tcp.length, "the IPv6 payload length");
  }
  assert.equal(bytes[four ? 9 : 6], 6, "the protocol is TCP");
  const pseudo = Buffer.concat([source, target, Buffer.from([0, 6, tcp.length >> 8, tcp.length & 255])]);
  assert.equal(onesComplement(Buffer.concat([pseudo, tcp])), 0xffff, "the TCP checksum");
  const flags = tcp[13]!;
  return {
    from: `${source.toString("hex")}:${tcp.readUInt16BE(0)}`,
    to: `${target.toString("hex")}:${tcp.readUInt16BE(2)}`,
    flags: ["FIN", "SYN", "RST", "PSH", "ACK"].filter((_, bit) => (flags & (1 << bit)) !== 0).join(" "),
    sequence: tcp.readUInt32BE(4),
    acknowledgment: tcp.readUInt32BE(8),
    payload: tcp.subarray((tcp[12]! >> 4) * 4),
  };
}

export interface Conversation {
  /** What each end sent, in order, and how it ended. */
  readonly client: Buffer;
  readonly server: Buffer;
  readonly ends: readonly string[];
}

/**
 * Follows one connection as a receiver would: a handshake first, every byte in sequence, every acknowledgment of what
 * was received, nothing after the end.
 */
export function follow(packets: readonly Packet[]): Conversation {
  const [syn, synAck] = packets;
  assert.equal(syn?.flags, "SYN");
  assert.equal(synAck?.flags, "SYN ACK");
  const next = new Map([
    [syn!.from, syn!.sequence],
    [synAck!.from, synAck!.sequence],
  ]);
  const received = new Map<string, Buffer[]>([
    [syn!.from, []],
    [synAck!.from, []],
  ]);
  const ended = new Set<string>();
  const ends: string[] = [];
  for (const packet of packets) {
    const { from, to, flags, payload } = packet;
    const side: string = from === syn!.from ? "client" : "server";
    assert.equal(packet.sequence, next.get(from), `${side}'s sequence number`);
    if (flags.includes("ACK"))
      assert.equal(packet.acknowledgment, next.get(to), `${side} acknowledges what it received`);
    if (payload.length > 0 || /FIN|SYN|RST/.test(flags))
      assert.ok(!ended.has(from), `${side} sends nothing after its end`);
    received.get(from)!.push(payload);
    const counted = payload.length + (/FIN|SYN/.test(flags) ? 1 : 0);
    next.set(from, (packet.sequence + counted) % 2 ** 32);
    if (flags.includes("FIN")) ends.push(`FIN of ${side}`);
    if (flags.includes("FIN")) ended.add(from);
    if (flags.includes("RST")) ends.push(`RST of ${side}`);
    if (flags.includes("RST")) for (const end of received.keys()) ended.add(end);
  }
  return { client: Buffer.concat(received.get(syn!.from)!), server: Buffer.concat(received.get(synAck!.from)!), ends };
}

/** RFC 1071, as its section 1 says it: 16-bit words in network order, a last odd byte padded with zero. */
function onesComplement(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}
