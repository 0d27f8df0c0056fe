import { closeSync, writeSync } from "node:fs";
import { NetworkError } from "../errors.ts";
import { type Heard, type Packet, readMessages, writeConfiguration, writeVerdict } from "./nfqueue-messages.ts";
import {
  AF,
  bindNetlink,
  eventDescriptor,
  OPTION,
  readableWait,
  receive,
  SOCK,
  send,
  setOption,
  socket,
} from "./syscalls.ts";

export interface Queue {
  /** Lets a held packet go on, or drops it. `mark` becomes its firewall mark; without, it keeps its own. */
  verdict(id: number, action: "accept" | "drop", mark?: number): void;
  /** A snapshot: packets handed over, verdicts given, and messages of the kernel that a verdict or a packet went wrong. */
  counters(): { readonly packets: number; readonly verdicts: number; readonly faults: number };
  /** Ends the queue. The kernel drops what it still holds: their senders send again. */
  close(): Promise<void>;
}

const NETLINK_NETFILTER = 12;
/** IPv4 with all options and TCP need 120 bytes; IPv6 has room for extension headers. */
const COPIED = 256;
/** Packets that the kernel holds at most; what comes then goes on unheld. */
const MAX_HELD = 8192;
const RECEIVE_BUFFER = 4 * 1024 * 1024;
/** Messages read before others may run: a flood of SYNs must not stop the sessions that live. */
const BATCH = 128;

/**
 * Takes the packets of one NFQUEUE of the current network namespace. `onPacket` is called once per packet, which waits until
 * `verdict`. When the queue is full its packets pass unheld: the kernel's fail-open. `onError` is called when the queue broke;
 * it is closed then. Throws NetworkError: EPERM without CAP_NET_ADMIN, EBUSY when another program has the queue.
 */
export function openQueue(options: {
  /** 0 to 65535. */
  readonly number: number;
  readonly onPacket: (packet: Packet) => void;
  readonly onError: (error: Error) => void;
}): Queue {
  const { number, onPacket, onError } = options;
  const buffer = Buffer.alloc(16 * 1024);
  const { fd, wake, early } = open(number, buffer);
  const wait = readableWait(fd, wake);
  const counts = { packets: 0, verdicts: 0, faults: 0 };
  let state: "open" | "closing" | "closed" = "open";
  let closed = () => {};
  const end = new Promise<void>((resolve) => {
    closed = resolve;
  });
  // A process that exits joins the thread that waits: it must be woken.
  const interrupt = () => void writeSync(wake, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
  process.once("exit", interrupt);

  const hear = (messages: readonly Heard[]) => {
    for (const heard of messages) {
      if (heard.kind === "fault") counts.faults++;
      if (heard.kind !== "packet" || state !== "open") continue;
      counts.packets++;
      onPacket(heard.packet);
    }
  };
  const release = () => {
    process.off("exit", interrupt);
    state = "closed";
    closeSync(fd);
    closeSync(wake);
    closed();
  };
  const next = () => {
    if (state !== "open") return release();
    try {
      for (let count = 0; count < BATCH && state === "open"; count++) {
        const length = receive(fd, buffer);
        if (length === undefined) break;
        hear(readMessages(buffer.subarray(0, length)));
      }
    } catch (error) {
      // Lost messages (ENOBUFS) are packets that the kernel let go on: the queue itself is well.
      if (!(error instanceof NetworkError)) throw error;
      counts.faults++;
      if (error.code !== "ENOBUFS") {
        release();
        return onError(error);
      }
    }
    return wait(next);
  };
  setImmediate(() => {
    hear(early);
    next();
  });

  return {
    verdict: (id, action, mark) => {
      if (state !== "open") return;
      counts.verdicts++;
      send(fd, writeVerdict(number, id, action, mark));
    },
    counters: () => ({ ...counts }),
    close: () => {
      if (state === "open") {
        state = "closing";
        interrupt();
      }
      return end;
    },
  };
}

/** Binds the queue. What already came between the packets' arrival and the kernel's answer is `early`. */
function open(number: number, buffer: Buffer): { fd: number; wake: number; early: Heard[] } {
  const opened: number[] = [];
  try {
    const fd = socket(AF.NETLINK, SOCK.RAW, NETLINK_NETFILTER);
    opened.push(fd);
    const wake = eventDescriptor();
    opened.push(wake);
    bindNetlink(fd);
    setOption(fd, OPTION.RCVBUFFORCE, RECEIVE_BUFFER);
    // Without, one burst too many makes every later read fail with ENOBUFS once.
    setOption(fd, OPTION.NO_ENOBUFS, 1);
    send(fd, writeConfiguration(number, { copied: COPIED, maxLength: MAX_HELD }));
    return { fd, wake, early: awaitAnswer(fd, buffer) };
  } catch (error) {
    for (const fd of opened) closeSync(fd);
    if (!(error instanceof NetworkError)) throw error;
    const why = WHY[error.code] ?? error.code;
    throw new NetworkError(`Cannot take the packets of NFQUEUE ${number}: ${why}`, error.code, { cause: error });
  }
}

const WHY: Readonly<Record<string, string>> = {
  EPERM: "EPERM: it needs CAP_NET_ADMIN",
  EBUSY: "EBUSY: another program has this queue",
};

/** Netlink answers before send returns; packets of the queue may stand before the answer. */
function awaitAnswer(fd: number, buffer: Buffer): Heard[] {
  const early: Heard[] = [];
  for (let length = receive(fd, buffer); length !== undefined; length = receive(fd, buffer)) {
    for (const heard of readMessages(buffer.subarray(0, length))) {
      if (heard.kind === "done") return early;
      if (heard.kind === "fault") {
        // The capability was there for the socket's buffer: this EPERM means that the queue is another socket's.
        const code = heard.code === "EPERM" ? "EBUSY" : heard.code;
        throw new NetworkError(`The kernel refused: ${heard.code}`, code);
      }
      early.push(heard);
    }
  }
  throw new NetworkError("The kernel gave no answer", "ENOSYS");
}
