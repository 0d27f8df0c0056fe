/**
 * The older pcap format, draft-ietf-opsawg-pcap, for programs that read nothing else. It has packets only, without comments
 * and notes.
 */

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const LINKTYPE_RAW = 101;
const LONGEST_PACKET = 262_144;
const ENHANCED_PACKET = 6;
const PACKET_HEAD = 28;
const RECORD_HEAD = 16;

/** The beginning of a stream. */
export function pcapStart(): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(MAGIC_MICROSECONDS, 0);
  header.writeUInt16LE(2, 4); // version 2.4
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(LONGEST_PACKET, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  return header;
}

/** Converts the packets of whole pcapng blocks to pcap records, which are never longer. */
export function pcapRecords(blocks: Buffer): Buffer {
  const records = Buffer.allocUnsafe(blocks.length);
  let end = 0;
  for (let at = 0; at < blocks.length; at += blocks.readUInt32LE(at + 4)) {
    if (blocks.readUInt32LE(at) !== ENHANCED_PACKET) continue;
    const time = blocks.readUInt32LE(at + 12) * 0x1_0000_0000 + blocks.readUInt32LE(at + 16);
    const length = blocks.readUInt32LE(at + 20);
    records.writeUInt32LE(Math.floor(time / 1e6), end);
    records.writeUInt32LE(time % 1e6, end + 4);
    records.writeUInt32LE(length, end + 8);
    records.writeUInt32LE(length, end + 12);
    blocks.copy(records, end + RECORD_HEAD, at + PACKET_HEAD, at + PACKET_HEAD + length);
    end += RECORD_HEAD + length;
  }
  return records.subarray(0, end);
}
