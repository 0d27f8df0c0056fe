import {
  attributesOf,
  errorName,
  errorOf,
  type NetlinkMessage,
  NLM_F_ACK,
  NLMSG_ERROR,
  splitMessages,
  uint32,
  writeMessage,
} from "./nfnetlink.ts";

/** The messages of nfnetlink_queue that the node uses: <linux/netfilter/nfnetlink_queue.h>. */

/** A packet that waits for its verdict, a request that was done, or one that failed. */
export type KernelMessage =
  | { readonly kind: "packet"; readonly packet: Packet }
  | { readonly kind: "done" }
  | { readonly kind: "fault"; readonly code: string };

/** In the subsystem NFNL_SUBSYS_QUEUE. */
const MESSAGE = { PACKET: 0x300, VERDICT: 0x301, CONFIG: 0x302 } as const;

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
  return writeMessage(MESSAGE.CONFIG, NLM_F_ACK, queue, [
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
  return writeMessage(MESSAGE.VERDICT, 0, queue, [
    [ATTRIBUTE.VERDICT_HEADER, verdict],
    ...(mark === undefined ? [] : ([[ATTRIBUTE.MARK, uint32(mark)]] as const)),
  ]);
}

/** Reads the messages of one recv. The payloads are copies. Unknown messages and attributes are skipped. */
export function readMessages(bytes: Buffer): KernelMessage[] {
  return splitMessages(bytes).flatMap((message) => readMessage(message) ?? []);
}

function readMessage(message: NetlinkMessage): KernelMessage | undefined {
  if (message.type === MESSAGE.PACKET) return readPacket(message);
  const error = message.type === NLMSG_ERROR ? errorOf(message) : undefined;
  if (error === undefined) return undefined;
  return error === 0 ? { kind: "done" } : { kind: "fault", code: errorName(error) };
}

function readPacket(message: NetlinkMessage): KernelMessage | undefined {
  let id: number | undefined;
  let mark = 0;
  let payload: Buffer | undefined;
  for (const [type, value] of attributesOf(message)) {
    if (type === ATTRIBUTE.PACKET_HEADER && value.length >= 4) id = value.readUInt32BE(0);
    if (type === ATTRIBUTE.MARK && value.length >= 4) mark = value.readUInt32BE(0);
    if (type === ATTRIBUTE.PAYLOAD) payload = Buffer.from(value);
  }
  return id === undefined ? undefined : { kind: "packet", packet: { id, mark, payload: payload ?? Buffer.alloc(0) } };
}

/** A packet that the kernel holds until its verdict. */
export interface Packet {
  readonly id: number;
  /** The first bytes of the packet, from the IP header on: enough for the headers of a SYN. */
  readonly payload: Buffer;
  /** Its firewall mark. A verdict with a mark replaces all 32 bits. */
  readonly mark: number;
}
