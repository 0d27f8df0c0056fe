import assert from "node:assert/strict";

/** A packet that the tests have read. The reader follows the RFCs and shares no code with the writer. */
export interface Packet {
  readonly from: string;
  readonly to: string;
  readonly flags: string;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly payload: Buffer;
}

/** "offload": packets with a payload have the sum of their pseudo-header instead of a checksum. */
export type Checksums = "complete" | "offload";

/** Reads one IP packet and makes the checks of a receiver. */
export function readPacket(bytes: Buffer, checksums: Checksums = "complete"): Packet {
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
  const payload = tcp.subarray((tcp[12]! >> 4) * 4);
  if (checksums === "offload" && payload.length > 0)
    assert.equal(tcp.readUInt16BE(16), onesComplement(pseudo), "the sum of the pseudo-header");
  else assert.equal(onesComplement(Buffer.concat([pseudo, tcp])), 0xffff, "the TCP checksum");
  const flags = tcp[13]!;
  return {
    from: `${source.toString("hex")}:${tcp.readUInt16BE(0)}`,
    to: `${target.toString("hex")}:${tcp.readUInt16BE(2)}`,
    flags: ["FIN", "SYN", "RST", "PSH", "ACK"].filter((_, bit) => (flags & (1 << bit)) !== 0).join(" "),
    sequence: tcp.readUInt32BE(4),
    acknowledgment: tcp.readUInt32BE(8),
    payload,
  };
}

export interface Connection {
  /** The bytes that each end sent, and the ends of the connection, in order. */
  readonly client: Buffer;
  readonly server: Buffer;
  readonly ends: readonly string[];
}

/**
 * Follows one connection as a receiver would: a handshake first, every byte in sequence, every byte acknowledged,
 * nothing after the end.
 */
export function follow(packets: readonly Packet[]): Connection {
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

/** RFC 1071, section 1: the sum of 16-bit words in network order, an odd last byte padded with zero. */
function onesComplement(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** Sorts packets by connection. */
export function connectionsIn(packets: readonly Buffer[], checksums?: Checksums): Connection[] {
  const read = packets.map((packet) => readPacket(packet, checksums));
  const byEnds = Map.groupBy(read, ({ from, to }) => [from, to].sort().join(" "));
  return [...byEnds.values()].map(follow);
}

export interface PcapngPacket {
  readonly bytes: Buffer;
  /** Microseconds since the epoch. */
  readonly time: number;
  readonly comment: string | undefined;
}

/** The number of packets that were left out, from the last note in a pcapng stream. */
export function readDropped(file: Buffer): number {
  let dropped = 0;
  for (let at = 0; at < file.length; at += file.readUInt32LE(at + 4)) {
    if (file.readUInt32LE(at) !== 5) continue;
    assert.equal(file.readUInt16LE(at + 20), 5, "the option is isb_ifdrop");
    dropped = Number(file.readBigUInt64LE(at + 24));
  }
  return dropped;
}

/** Reads a pcap file to its last byte: draft-ietf-opsawg-pcap, sections 4 and 5. */
export function readPcap(file: Buffer): Omit<PcapngPacket, "comment">[] {
  assert.equal(file.readUInt32LE(0), 0xa1b2c3d4);
  assert.equal(file.readUInt32LE(20), 101, "the link type is RAW");
  const packets = [];
  for (let at = 24; at < file.length; ) {
    const length = file.readUInt32LE(at + 8);
    assert.equal(file.readUInt32LE(at + 12), length, "packets are whole");
    const time = file.readUInt32LE(at) * 1e6 + file.readUInt32LE(at + 4);
    packets.push({ bytes: file.subarray(at + 16, at + 16 + length), time });
    at += 16 + length;
    assert.ok(at <= file.length, "the file ends with a whole packet");
  }
  return packets;
}

/** Reads a pcapng file to its last byte: draft-ietf-opsawg-pcapng, sections 3 and 4. */
export function readPcapng(file: Buffer): PcapngPacket[] {
  const packets: PcapngPacket[] = [];
  const types: number[] = [];
  for (let at = 0; at < file.length; ) {
    const length = file.readUInt32LE(at + 4);
    const block = file.subarray(at, at + length);
    assert.equal(block.length, length, "the file ends with a whole block");
    assert.equal(length % 4, 0, "blocks are aligned");
    assert.equal(block.readUInt32LE(length - 4), length, "the length stands at both ends");
    types.push(block.readUInt32LE(0));
    if (types.at(-1)! >= 0x80000000) assert.ok(block.subarray(8, -4).every((byte) => byte === 0));
    if (types.at(-1) === 6) packets.push(readEnhancedPacket(block));
    at += length;
  }
  assert.deepEqual(types.slice(0, 2), [0x0a0d0d0a, 1], "a section header and an interface come first");
  assert.ok(
    types.slice(2).every((type) => type === 6 || type === 5 || type >= 0x80000000),
    "the rest are packets, notes of those that were left out, and blocks for local use, which readers skip",
  );
  return packets;
}

/** The type of each block, and where it ends. */
export function readPcapngBlocks(file: Buffer): { readonly type: number; readonly end: number }[] {
  const blocks = [];
  for (let at = 0; at < file.length; ) {
    const type = file.readUInt32LE(at);
    at += file.readUInt32LE(at + 4);
    blocks.push({ type, end: at });
  }
  return blocks;
}

function readEnhancedPacket(block: Buffer): PcapngPacket {
  const captured = block.readUInt32LE(20);
  assert.equal(block.readUInt32LE(24), captured, "packets are whole");
  const end = 28 + captured;
  const options = end + ((4 - (captured % 4)) % 4);
  assert.ok(
    block.subarray(end, options).every((byte) => byte === 0),
    "the padding is zero",
  );
  let comment: string | undefined;
  if (options < block.length - 4) {
    const comments: string[] = [];
    let at = options;
    for (; block.readUInt16LE(at) !== 0; at += 4 + Math.ceil(block.readUInt16LE(at + 2) / 4) * 4) {
      assert.equal(block.readUInt16LE(at), 1, "the option is a comment");
      comments.push(block.toString("utf8", at + 4, at + 4 + block.readUInt16LE(at + 2)));
    }
    comment = comments.join("\n");
    assert.equal(block.length - 4, at + 4, "the end of options is the last");
  }
  const time = block.readUInt32LE(12) * 2 ** 32 + block.readUInt32LE(16);
  return { bytes: block.subarray(28, end), time, comment };
}
