import { closeSync } from "node:fs";
import { NetworkError } from "../errors.ts";
import {
  AF,
  addressOf,
  askDriver,
  askInterface,
  bindInterface,
  OPTION,
  SOCK,
  sendMany,
  setOption,
  socket,
} from "./syscalls.ts";

/** Sends whole frames on an Ethernet interface. Receives nothing. */
export interface PacketSocket {
  /** The interface's MTU in bytes. */
  readonly mtu: number;
  /** The kernel cuts long packets into segments: each frame follows a struct virtio_net_hdr, see `writeOffload`. */
  readonly hasOffload: boolean;
  /**
   * Sends the frames of the batch that have not been sent, and returns how many the kernel took. The others wait until it has room.
   * Throws NetworkError: ENETDOWN, ENXIO or ENODEV when the interface is down or gone.
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

/**
 * `wantsOffload`: the socket has offloading if the kernel and the interface can do it. Throws NetworkError: EPERM without
 * CAP_NET_RAW, ENODEV, ENETDOWN, EINVAL when the interface is not Ethernet.
 */
export function openPacketSocket(name: string, wantsOffload: boolean): PacketSocket {
  let fd: number | undefined;
  try {
    // Protocol 0: the socket receives no frames.
    fd = socket(AF.PACKET, SOCK.RAW | SOCK.NONBLOCK, 0);
    const type = askInterface(fd, SIOCGIFHWADDR, name).readUInt16LE(0);
    if (type !== ARPHRD_ETHER) throw new NetworkError("It is not an Ethernet interface", "EINVAL");
    if ((askInterface(fd, SIOCGIFFLAGS, name).readUInt16LE(0) & IFF_UP) === 0)
      throw new NetworkError("The interface is down", "ENETDOWN");
    const mtu = mtuOf(fd, name);
    bindInterface(fd, askInterface(fd, SIOCGIFINDEX, name).readInt32LE(0));
    enlarge(fd);
    return adopt(fd, name, mtu, wantsOffload && beginOffload(fd, name));
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

function mtuOf(fd: number, name: string): number {
  const mtu = askInterface(fd, SIOCGIFMTU, name).readInt32LE(0);
  if (mtu < LEAST_MTU) throw new NetworkError(`Its MTU of ${mtu} is below ${LEAST_MTU}`, "EINVAL");
  return Math.min(mtu, 65_535);
}

/** Commands of linux/ethtool.h. */
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const ETHTOOL_GPERMADDR = 0x20;

/**
 * Lets the kernel cut packets into segments and complete their checksums, if the other end gets these segments. Hardware
 * does it, or the kernel for it. A virtual interface such as a veth would hand long packets with incomplete checksums to
 * its other end. Without checksum offloading, which the node turns off if it may, it hands on the segments.
 */
function beginOffload(fd: number, name: string): boolean {
  try {
    if (!isHardware(fd, name) && !isWithoutChecksums(fd, name)) return false;
    setOption(fd, OPTION.VNET_HDR, 1);
    return true;
  } catch {
    return false;
  }
}

/** Only hardware has an address from its factory. */
function isHardware(fd: number, name: string): boolean {
  const command = Buffer.alloc(8 + 32); // struct ethtool_perm_addr: command, size, address
  command.writeUInt32LE(ETHTOOL_GPERMADDR, 0);
  command.writeUInt32LE(32, 4);
  askDriver(fd, name, command);
  return command.subarray(8).some((byte) => byte !== 0);
}

/** Without checksum offloading the kernel turns segmentation offloading off too. */
function isWithoutChecksums(fd: number, name: string): boolean {
  const command = Buffer.alloc(8); // struct ethtool_value: command, value
  command.writeUInt32LE(ETHTOOL_STXCSUM, 0);
  try {
    askDriver(fd, name, command);
  } catch {
    // It needs CAP_NET_ADMIN. Somebody else may have turned it off.
  }
  command.writeUInt32LE(ETHTOOL_GTXCSUM, 0);
  askDriver(fd, name, command);
  return command.readUInt32LE(4) === 0;
}

/** The length of struct virtio_net_hdr. */
export const OFFLOAD_HEADER = 10;
const NEEDS_CHECKSUM = 1;
const GSO = { 4: 1, 6: 4 } as const;
const CHECKSUM_OFFSET = 16;

/** What the kernel is to do with one frame. */
export interface Offload {
  readonly version: 4 | 6;
  /** Where in the frame the TCP header begins and ends. */
  readonly tcp: number;
  readonly end: number;
  /** The payload of one segment; undefined: the frame is one segment. */
  readonly mss: number | undefined;
}

/** Writes the header before a frame; undefined: the frame is complete. */
export function writeOffload(view: DataView, at: number, offload: Offload | undefined): void {
  const { version = 4, tcp = 0, end = 0, mss } = offload ?? {};
  view.setUint8(at, offload === undefined ? 0 : NEEDS_CHECKSUM);
  view.setUint8(at + 1, mss === undefined ? 0 : GSO[version]);
  view.setUint16(at + 2, end, true);
  view.setUint16(at + 4, mss ?? 0, true);
  view.setUint16(at + 6, tcp, true);
  view.setUint16(at + 8, offload === undefined ? 0 : CHECKSUM_OFFSET, true);
}

/** ms between two looks at the MTU: the kernel accepts segments of another length and drops them. */
const LOOK = 1_000;

function adopt(fd: number, name: string, firstMtu: number, hasOffload: boolean): PacketSocket {
  let open = true;
  let mtu = firstMtu;
  let looked = performance.now();
  return {
    get mtu() {
      return mtu;
    },
    hasOffload,
    send(batch) {
      const now = performance.now();
      if (now - looked >= LOOK) {
        looked = now;
        mtu = mtuOf(fd, name);
      }
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
