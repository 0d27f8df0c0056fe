import { getSystemErrorName } from "node:util";

/**
 * The messages of nfnetlink_queue that the node uses: <linux/netfilter/nfnetlink_queue.h>. Headers are in host byte order
 * (little-endian), the values of attributes in network byte order.
 */

/** A packet that waits for its verdict, a request that was done, or one that failed. */
export type KernelMessage =
  | { readonly kind: "packet"; readonly packet: Packet }
  | { readonly kind: "done" }
  | { readonly kind: "fault"; readonly code: string };

const SUBSYSTEM = 3; // NFNL_SUBSYS_QUEUE
const MESSAGE = { PACKET: 0, VERDICT: 1, CONFIG: 2 } as const;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLMSG_ERROR = 2;
const NETLINK_HEADER = 16;
const HEADER = NETLINK_HEADER + 4; // and struct nfgenmsg

const CONFIG = { COMMAND: 1, PARAMETERS: 2, MAX_LENGTH: 3, MASK: 4, FLAGS: 5 } as const;
const COMMAND_BIND = 1;
const COPY_PACKET = 2;
const FAIL_OPEN = 1;
const ATTRIBUTE = { PACKET_HEADER: 1, VERDICT_HEADER: 2, MARK: 3, PAYLOAD: 10 } as const;
const VERDICT = { drop: 0, accept: 1 } as const;

/** Binds and configures the queue in one message, so that no packet comes before it is configured. The kernel answers. */
export function writeConfiguration(
  queue: number,
  { copied, maxLength }: { readonly copied: number; readonly maxLength: number },
): Buffer {
  const parameters = Buffer.concat([uint32(copied), Buffer.from([COPY_PACKET])]);
  return message(MESSAGE.CONFIG, NLM_F_ACK, queue, [
    [CONFIG.COMMAND, Buffer.from([COMMAND_BIND, 0, 0, 0])],
    [CONFIG.PARAMETERS, parameters],
    [CONFIG.MAX_LENGTH, uint32(maxLength)],
    [CONFIG.MASK, uint32(FAIL_OPEN)],
    [CONFIG.FLAGS, uint32(FAIL_OPEN)],
  ]);
}

/** The verdict on one packet. The kernel answers only if it does not hold such a packet. */
export function writeVerdict(queue: number, id: number, action: "accept" | "drop", mark: number | undefined): Buffer {
  const verdict = Buffer.concat([uint32(VERDICT[action]), uint32(id)]);
  return message(MESSAGE.VERDICT, 0, queue, [
    [ATTRIBUTE.VERDICT_HEADER, verdict],
    ...(mark === undefined ? [] : ([[ATTRIBUTE.MARK, uint32(mark)]] as const)),
  ]);
}

/** Reads the messages of one recv. The payloads are copies. Unknown messages and attributes are skipped. */
export function readMessages(bytes: Buffer): KernelMessage[] {
  const messages: KernelMessage[] = [];
  for (let at = 0; at + NETLINK_HEADER <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < NETLINK_HEADER || at + length > bytes.length) break;
    const one = readMessage(bytes.readUInt16LE(at + 4), bytes.subarray(at, at + length));
    if (one !== undefined) messages.push(one);
    at += padded(length);
  }
  return messages;
}

function readMessage(type: number, bytes: Buffer): KernelMessage | undefined {
  if (type === NLMSG_ERROR && bytes.length >= NETLINK_HEADER + 4) {
    const error = bytes.readInt32LE(NETLINK_HEADER);
    return error === 0 ? { kind: "done" } : { kind: "fault", code: getSystemErrorName(error) };
  }
  if (type !== ((SUBSYSTEM << 8) | MESSAGE.PACKET) || bytes.length < HEADER) return undefined;
  return readPacket(bytes);
}

function readPacket(bytes: Buffer): KernelMessage | undefined {
  let id: number | undefined;
  let mark = 0;
  let payload: Buffer | undefined;
  for (let at = HEADER; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    const value = bytes.subarray(at + 4, at + length);
    const type = bytes.readUInt16LE(at + 2) & 0x3fff; // without the flags for nesting and byte order
    if (type === ATTRIBUTE.PACKET_HEADER && value.length >= 4) id = value.readUInt32BE(0);
    if (type === ATTRIBUTE.MARK && value.length >= 4) mark = value.readUInt32BE(0);
    if (type === ATTRIBUTE.PAYLOAD) payload = Buffer.from(value);
    at += padded(length);
  }
  return id === undefined ? undefined : { kind: "packet", packet: { id, mark, payload: payload ?? Buffer.alloc(0) } };
}

function message(
  type: number,
  flags: number,
  queue: number,
  attributes: readonly (readonly [type: number, value: Buffer])[],
): Buffer {
  const size = attributes.reduce((sum, [, value]) => sum + padded(4 + value.length), HEADER);
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(size, 0);
  bytes.writeUInt16LE((SUBSYSTEM << 8) | type, 4);
  bytes.writeUInt16LE(NLM_F_REQUEST | flags, 6);
  bytes.writeUInt16BE(queue, NETLINK_HEADER + 2);
  let at = HEADER;
  for (const [attribute, value] of attributes) {
    bytes.writeUInt16LE(4 + value.length, at);
    bytes.writeUInt16LE(attribute, at + 2);
    value.copy(bytes, at + 4);
    at += padded(4 + value.length);
  }
  return bytes;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** A packet that the kernel holds until its verdict. */
export interface Packet {
  readonly id: number;
  /** The first bytes of the packet, from the IP header on: enough for the headers of a SYN. */
  readonly payload: Buffer;
  /** Its firewall mark. A verdict with a mark replaces all 32 bits. */
  readonly mark: number;
}
