import { closeSync } from "node:fs";
import { NetworkError } from "../errors.ts";
import {
  attributesOf,
  errorName,
  errorOf,
  NLM_F_ACK,
  NLMSG_ERROR,
  splitMessages,
  uint32,
  writeMessage,
} from "./nfnetlink.ts";
import { AF, bindNetlink, OPTION, receive, SOCK, send, setOption, socket } from "./syscalls.ts";

/** Copies of packets that rules log to a group: <linux/netfilter/nfnetlink_log.h>. The packets themselves go on without delay. */

const NETLINK_NETFILTER = 12;
/** In the subsystem NFNL_SUBSYS_ULOG. */
const MESSAGE = { PACKET: 0x400, CONFIG: 0x401 } as const;
const CONFIG = { COMMAND: 1, MODE: 2, THRESHOLD: 5 } as const;
const COMMAND_BIND = 1;
const COPY_PACKET = 2;
const PAYLOAD = 9;
/** IPv4 with all options and TCP need 120 bytes; IPv6 has room for extension headers. */
const COPIED = 256;
const RECEIVE_BUFFER = 1024 * 1024;

/**
 * Takes the copies of one group in the current network namespace; nobody waits for them: `read` answers those that have come since,
 * from their IP headers on. Throws NetworkError: EPERM without CAP_NET_ADMIN, EBUSY when another program has the group.
 */
export class PacketLog {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(16 * 1024);
  #isOpen = true;

  constructor(group: number) {
    this.#fd = socket(AF.NETLINK, SOCK.RAW, NETLINK_NETFILTER);
    try {
      bindNetlink(this.#fd);
      setOption(this.#fd, OPTION.RCVBUFFORCE, RECEIVE_BUFFER);
      // Otherwise a read fails once copies were lost. The rest is as good.
      setOption(this.#fd, OPTION.NO_ENOBUFS, 1);
      send(this.#fd, writeBinding(group));
      this.#awaitAnswer(group);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  *read(): Generator<Buffer> {
    for (;;) {
      const length = this.#isOpen ? receive(this.#fd, this.#buffer) : undefined;
      if (length === undefined) return;
      for (const message of splitMessages(this.#buffer.subarray(0, length))) {
        if (message.type !== MESSAGE.PACKET) continue;
        for (const [type, value] of attributesOf(message)) if (type === PAYLOAD) yield value;
      }
    }
  }

  close(): void {
    if (this.#isOpen) closeSync(this.#fd);
    this.#isOpen = false;
  }

  /** The kernel has answered by the time send returns. */
  #awaitAnswer(group: number): void {
    for (let length = receive(this.#fd, this.#buffer); length; length = receive(this.#fd, this.#buffer)) {
      for (const message of splitMessages(this.#buffer.subarray(0, length))) {
        const error = message.type === NLMSG_ERROR ? errorOf(message) : undefined;
        if (error === 0) return;
        if (error === undefined) continue;
        const code = errorName(error);
        throw new NetworkError(`Cannot take the packets of NFLOG group ${group}: ${code}`, code);
      }
    }
    throw new NetworkError(`Cannot take the packets of NFLOG group ${group}: the kernel gave no answer`, "ENOSYS");
  }
}

/** Each packet is copied at once: the kernel would wait for more. */
function writeBinding(group: number): Buffer {
  return writeMessage(MESSAGE.CONFIG, NLM_F_ACK, group, [
    [CONFIG.COMMAND, Buffer.from([COMMAND_BIND])],
    [CONFIG.MODE, Buffer.concat([uint32(COPIED), Buffer.from([COPY_PACKET, 0])])],
    [CONFIG.THRESHOLD, uint32(1)],
  ]);
}
