import type { Block } from "./block.ts";

/** Blocks of the pcapng format, draft-ietf-opsawg-pcapng, in little-endian order. */

/** "Raw IP: the packet begins with an IPv4 or IPv6 header." The node has no Ethernet headers to write. */
const LINKTYPE_RAW = 101;

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const FILLER = 0x80434c00;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_COMMENT = 1;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const ISB_IFDROP = 5;

/** The bytes before a packet: type, length, interface, time (two words), captured and original length. */
const PACKET_HEAD = 28;
const PACKET_TAIL = 4;

const LONGEST_COMMENT = 1024;

/** The beginning of a file: the section header and one interface, named after the feed. Times are in microseconds. */
export function sectionStart(feed: string): Buffer {
  const hint =
    "Plaintext of decrypted sessions. Where Wireshark expects TLS (port 443), decode as HTTP: tshark -d tcp.port==443,http";
  const section = Buffer.alloc(16);
  section.writeUInt32LE(BYTE_ORDER_MAGIC, 0);
  section.writeUInt16LE(1, 4); // version 1.0
  section.writeBigInt64LE(-1n, 8); // the section's length is not known yet
  const description = Buffer.alloc(8);
  description.writeUInt16LE(LINKTYPE_RAW, 0);
  return Buffer.concat([
    block(SECTION_HEADER, section, option(OPTION_COMMENT, hint), option(SHB_USERAPPL, "Clearline"), option(0, "")),
    block(INTERFACE_DESCRIPTION, description, option(IF_NAME, feed), option(0, "")),
  ]);
}

/** Encodes comments for a packet. Control characters are replaced, because clients choose parts of the text. */
export function packetComments(...texts: readonly string[]): Buffer {
  return Buffer.concat([...texts.map((text) => option(OPTION_COMMENT, printable(text))), option(0, "")]);
}

/** The same comments with one more. */
export function withComment(text: string, comments: Buffer | undefined): Buffer {
  const end = option(0, "");
  const before = comments?.subarray(0, -end.length) ?? Buffer.alloc(0);
  return Buffer.concat([before, option(OPTION_COMMENT, printable(text)), end]);
}

function printable(text: string): string {
  const shown = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
  let end = Math.min(shown.length, LONGEST_COMMENT);
  while (Buffer.byteLength(shown.slice(0, end)) > LONGEST_COMMENT) end -= 1;
  return shown.slice(0, end);
}

/** The length of the block around a packet, in bytes. */
export function packetBlockLength(packet: number, comment: Buffer | undefined): number {
  return PACKET_HEAD + padded(packet) + (comment?.length ?? 0) + PACKET_TAIL;
}

/** Where a block has its label: the number of the interface. */
export const LABEL = 8;

/**
 * Writes the block around a packet at `at`, a multiple of four, and answers the offset for the packet. `time` is in
 * microseconds since the epoch.
 */
export function writePacketBlock(
  target: Block,
  at: number,
  packet: number,
  time: number,
  comment: Buffer | undefined,
  label = 0,
): number {
  const { words } = target;
  const total = packetBlockLength(packet, comment);
  const first = at / 4;
  words[first] = ENHANCED_PACKET;
  words[first + 1] = total;
  words[first + 2] = label; // the interface: 0 in all that leaves the node
  words[first + 3] = time / 0x1_0000_0000;
  words[first + 4] = time;
  words[first + 5] = packet;
  words[first + 6] = packet;
  const end = at + PACKET_HEAD + padded(packet);
  words[end / 4 - 1] = 0; // clear the packet's padding: it may have bytes of another session
  if (comment !== undefined) target.bytes.set(comment, end);
  words[(at + total) / 4 - 1] = total;
  return at + PACKET_HEAD;
}

/** A note that this many packets were left out since the beginning. `time` is in microseconds since the epoch. */
export function dropNote(dropped: number, time: number): Buffer {
  const body = Buffer.alloc(12);
  body.writeUInt32LE(Math.floor(time / 0x1_0000_0000), 4);
  body.writeUInt32LE(time % 0x1_0000_0000, 8);
  const count = Buffer.alloc(8);
  count.writeBigUInt64LE(BigInt(dropped));
  return block(INTERFACE_STATISTICS, body, option(ISB_IFDROP, count), option(0, ""));
}

/** A block that readers skip, of exactly this length: a multiple of four, at least 12. Its type is one of those for local use. */
export function fillerBlock(length: number): Buffer {
  return block(FILLER, Buffer.alloc(length - 12));
}

function block(type: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const whole = Buffer.alloc(body.length + 12);
  whole.writeUInt32LE(type, 0);
  whole.writeUInt32LE(whole.length, 4);
  whole.set(body, 8);
  whole.writeUInt32LE(whole.length, whole.length - 4);
  return whole;
}

/** Encodes an option; code 0 ends the options. */
function option(code: number, text: string | Buffer): Buffer {
  const value = Buffer.from(text);
  const whole = Buffer.alloc(4 + padded(value.length));
  whole.writeUInt16LE(code, 0);
  whole.writeUInt16LE(value.length, 2);
  whole.set(value, 4);
  return whole;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
