import { closeSync, writeSync } from "node:fs";
import { NetworkError } from "../errors.ts";
import { type KernelMessage, type Packet, readMessages, writeConfiguration, writeVerdict } from "./nfqueue-messages.ts";
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

const NETLINK_NETFILTER = 12;
/** IPv4 with all options and TCP need 120 bytes; IPv6 has room for extension headers. */
const COPIED = 256;
/** The most packets that the kernel holds. Further packets pass without a verdict. */
const MAX_HELD = 8192;
const RECEIVE_BUFFER = 4 * 1024 * 1024;
/** Messages that are read in one turn of the event loop, so that a flood of SYNs does not stop live sessions. */
const BATCH = 128;

interface QueueOptions {
  /** 0 to 65535. */
  readonly number: number;
  /** Called once for each packet, which is held until `verdict`. */
  readonly onPacket: (packet: Packet) => void;
  /** The queue failed, and is closed. */
  readonly onError: (error: Error) => void;
}

/**
 * Takes the packets of one NFQUEUE of the current network namespace. When the queue is full, further packets pass without a verdict:
 * the kernel's fail-open. Throws NetworkError: EPERM without CAP_NET_ADMIN, EBUSY when another program has the queue.
 */
export function openQueue(options: QueueOptions): Queue {
  return new Queue(options);
}

export class Queue {
  readonly #options: QueueOptions;
  readonly #buffer = Buffer.alloc(16 * 1024);
  readonly #fd: number;
  readonly #wake: number;
  readonly #wait: (over: () => void) => void;
  readonly #counts = { packets: 0, verdicts: 0, faults: 0 };
  readonly #end = Promise.withResolvers<void>();
  /** When the process exits, it joins the thread that waits: the thread must be woken. */
  readonly #interrupt = () => void writeSync(this.#wake, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
  #state: "open" | "closing" | "closed" = "open";

  constructor(options: QueueOptions) {
    this.#options = options;
    const { fd, wake, early } = open(options.number, this.#buffer);
    this.#fd = fd;
    this.#wake = wake;
    this.#wait = readableWait(fd, wake);
    process.once("exit", this.#interrupt);
    setImmediate(() => {
      this.#hear(early);
      this.#next();
    });
  }

  /** Lets a held packet go on, or drops it. `mark` becomes its firewall mark; without it the packet keeps its own. */
  verdict(id: number, action: "accept" | "drop", mark?: number): void {
    if (this.#state !== "open") return;
    this.#counts.verdicts++;
    send(this.#fd, writeVerdict(this.#options.number, id, action, mark));
  }

  /** A snapshot: packets received, verdicts given, and errors that the kernel reported. */
  counters(): { readonly packets: number; readonly verdicts: number; readonly faults: number } {
    return { ...this.#counts };
  }

  /** Closes the queue. The kernel drops the packets that it still holds, and their senders send them again. */
  close(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "closing";
      this.#interrupt();
    }
    return this.#end.promise;
  }

  /** Reads what has come, then waits for more. */
  #next(): void {
    if (this.#state !== "open") {
      this.#release();
      return;
    }
    try {
      for (let count = 0; count < BATCH && this.#state === "open"; count++) {
        const length = receive(this.#fd, this.#buffer);
        if (length === undefined) break;
        this.#hear(readMessages(this.#buffer.subarray(0, length)));
      }
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      this.#counts.faults++;
      // ENOBUFS: messages were lost, and the kernel has let their packets pass. The queue itself still works.
      if (error.code !== "ENOBUFS") {
        this.#release();
        this.#options.onError(error);
        return;
      }
    }
    this.#wait(() => this.#next());
  }

  #hear(messages: readonly KernelMessage[]): void {
    for (const message of messages) {
      if (message.kind === "fault") this.#counts.faults++;
      if (message.kind !== "packet" || this.#state !== "open") continue;
      this.#counts.packets++;
      this.#options.onPacket(message.packet);
    }
  }

  #release(): void {
    process.off("exit", this.#interrupt);
    this.#state = "closed";
    closeSync(this.#fd);
    closeSync(this.#wake);
    this.#end.resolve();
  }
}

/** Binds the queue. `early`: packets that came before the kernel's answer. */
function open(number: number, buffer: Buffer): { fd: number; wake: number; early: KernelMessage[] } {
  const opened: number[] = [];
  try {
    const fd = socket(AF.NETLINK, SOCK.RAW, NETLINK_NETFILTER);
    opened.push(fd);
    const wake = eventDescriptor();
    opened.push(wake);
    bindNetlink(fd);
    setOption(fd, OPTION.RCVBUFFORCE, RECEIVE_BUFFER);
    // Without this option, a read fails with ENOBUFS after each burst that did not fit.
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

/** The kernel has answered by the time send returns. Packets of the queue may come before the answer. */
function awaitAnswer(fd: number, buffer: Buffer): KernelMessage[] {
  const early: KernelMessage[] = [];
  for (let length = receive(fd, buffer); length !== undefined; length = receive(fd, buffer)) {
    for (const message of readMessages(buffer.subarray(0, length))) {
      if (message.kind === "done") return early;
      if (message.kind === "fault") {
        // This process has CAP_NET_ADMIN, because RCVBUFFORCE succeeded: EPERM means that another socket has the queue.
        const code = message.code === "EPERM" ? "EBUSY" : message.code;
        throw new NetworkError(`The kernel refused: ${message.code}`, code);
      }
      early.push(message);
    }
  }
  throw new NetworkError("The kernel gave no answer", "ENOSYS");
}
