import { closeSync } from "node:fs";
import { NetworkError } from "../errors.ts";
import { AF, addressOf, askInterface, bindInterface, OPTION, SOCK, sendMany, setOption, socket } from "./syscalls.ts";

/** Sends whole frames on an Ethernet interface. Receives nothing. */
export interface PacketSocket {
  /** The interface's MTU in bytes when the socket was opened. */
  readonly mtu: number;
  /**
   * Sends the frames of the batch that have not been sent, and returns how many the kernel took. The others wait until it has room.
   * Throws NetworkError: ENETDOWN or ENXIO when the interface is down or gone.
   */
  send(batch: FrameBatch): number;
  close(): void;
}

/** Frames that are sent with one system call. */
export interface FrameBatch {
  /** The memory that holds the frames. */
  readonly memory: Buffer;
  /** Adds the frame of `length` bytes at `offset`. false: the batch is full. */
  add(offset: number, length: number): boolean;
  /** Frames added, and how many of them were sent. */
  readonly count: number;
  sent: number;
  /** struct mmsghdr for each frame. */
  readonly headers: Buffer;
  clear(): void;
}

const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const IFF_UP = 1;
const ARPHRD_ETHER = 1;
/** RFC 791: every host accepts datagrams of this size. A smaller MTU leaves no room for payload. */
const LEAST_MTU = 576;
/** Bytes. A burst of a fast session is several hundred frames. */
const SEND_BUFFER = 8 * 1024 * 1024;

/** Throws NetworkError: EPERM without CAP_NET_RAW, ENODEV, ENETDOWN, EINVAL when the interface is not Ethernet. */
export function openPacketSocket(name: string): PacketSocket {
  let fd: number | undefined;
  try {
    // Protocol 0: the socket receives no frames.
    fd = socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK, 0);
    const type = askInterface(fd, SIOCGIFHWADDR, name).readUInt16LE(0);
    if (type !== ARPHRD_ETHER) throw new NetworkError("It is not an Ethernet interface", "EINVAL");
    if ((askInterface(fd, SIOCGIFFLAGS, name).readUInt16LE(0) & IFF_UP) === 0)
      throw new NetworkError("The interface is down", "ENETDOWN");
    const mtu = askInterface(fd, SIOCGIFMTU, name).readInt32LE(0);
    if (mtu < LEAST_MTU) throw new NetworkError(`Its MTU of ${mtu} is below ${LEAST_MTU}`, "EINVAL");
    bindInterface(fd, askInterface(fd, SIOCGIFINDEX, name).readInt32LE(0));
    enlarge(fd);
    return adopt(fd, Math.min(mtu, 65_535));
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (!(error instanceof NetworkError)) throw error;
    const why = REMEDIES[error.code] ?? error.message;
    throw new NetworkError(`Cannot send on ${name}: ${why}`, error.code, { cause: error });
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  EPERM: "it needs the capability CAP_NET_RAW",
  ENODEV: "there is no such interface",
  ENETDOWN: "the interface is down",
};

function enlarge(fd: number): void {
  try {
    setOption(fd, OPTION.SNDBUFFORCE, SEND_BUFFER);
  } catch {
    setOption(fd, OPTION.SNDBUF, SEND_BUFFER);
  }
}

function adopt(fd: number, mtu: number): PacketSocket {
  let open = true;
  return {
    mtu,
    send(batch) {
      const { headers, count, sent } = batch;
      const taken = sendMany(fd, headers.subarray(sent * HEADER), count - sent);
      batch.sent += taken;
      return taken;
    },
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/** Sizes of struct mmsghdr and struct iovec. */
const HEADER = 64;
const VECTOR = 16;

/** `size` in bytes, and how many frames it holds at most. */
export function createFrameBatch(memory: Buffer, most: number): FrameBatch {
  const headers = Buffer.alloc(most * HEADER);
  const vectors = Buffer.alloc(most * VECTOR);
  const base = Number(addressOf(memory));
  const first = addressOf(vectors);
  for (let index = 0; index < most; index++) {
    headers.writeBigUInt64LE(first + BigInt(index * VECTOR), index * HEADER + 16); // msg_iov
    headers.writeBigUInt64LE(1n, index * HEADER + 24); // msg_iovlen
  }
  const words = new Uint32Array(vectors.buffer, vectors.byteOffset, most * (VECTOR / 4));
  let count = 0;
  return {
    memory,
    headers,
    sent: 0,
    get count() {
      return count;
    },
    add(offset, length) {
      if (count === most) return false;
      const address = base + offset;
      words[count * 4] = address;
      words[count * 4 + 1] = address / 0x1_0000_0000;
      words[count * 4 + 2] = length;
      count += 1;
      return true;
    },
    clear() {
      count = 0;
      this.sent = 0;
    },
  };
}
