import { getSystemErrorName } from "node:util";

/**
 * What the messages of nfnetlink's subsystems have in common: <linux/netfilter/nfnetlink.h>. Headers are in host byte order
 * (little-endian), the values of attributes in network byte order.
 */

const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLMSG_ERROR = 2;
const NETLINK_HEADER = 16;
const HEADER = NETLINK_HEADER + 4; // and struct nfgenmsg

/** One message of the kernel. */
export interface NetlinkMessage {
  readonly type: number;
  /** With its headers. */
  readonly bytes: Buffer;
}

/** The messages of one recv. Reading stops at the first that is cut. */
export function splitMessages(bytes: Buffer): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at + NETLINK_HEADER <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < NETLINK_HEADER || at + length > bytes.length) break;
    messages.push({ type: bytes.readUInt16LE(at + 4), bytes: bytes.subarray(at, at + length) });
    at += padded(length);
  }
  return messages;
}

/** The system's error number of a message NLMSG_ERROR, as libuv has it: 0 says that the request was done. */
export function errorOf({ bytes }: NetlinkMessage): number | undefined {
  return bytes.length >= NETLINK_HEADER + 4 ? bytes.readInt32LE(NETLINK_HEADER) : undefined;
}

/** The name of such a number: "EPERM". Node throws for one that is not negative, which the kernel has no reason to send. */
export function errorName(error: number): string {
  return error < 0 ? getSystemErrorName(error) : `the error ${error}`;
}

/** The attributes of a message, in order. Reading stops at the first that is cut. */
export function* attributesOf({ bytes }: NetlinkMessage): Generator<readonly [type: number, value: Buffer]> {
  for (let at = HEADER; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) return;
    // Without the flags for nesting and byte order.
    yield [bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + length)];
    at += padded(length);
  }
}

/** `resource`: the number of a queue, or of a group. */
export function writeMessage(
  type: number,
  flags: number,
  resource: number,
  attributes: readonly (readonly [type: number, value: Buffer])[],
): Buffer {
  const size = attributes.reduce((sum, [, value]) => sum + padded(4 + value.length), HEADER);
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(size, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(NLM_F_REQUEST | flags, 6);
  bytes.writeUInt16BE(resource, NETLINK_HEADER + 2);
  let at = HEADER;
  for (const [attribute, value] of attributes) {
    bytes.writeUInt16LE(4 + value.length, at);
    bytes.writeUInt16LE(attribute, at + 2);
    value.copy(bytes, at + 4);
    at += padded(4 + value.length);
  }
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
