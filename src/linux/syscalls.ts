import { isIPv6 } from "node:net";
import { getSystemErrorName } from "node:util";
import ipaddr from "ipaddr.js";
import koffi from "koffi";
import { NetworkError } from "../errors.ts";

/**
 * The system calls that Node does not offer. The numbers are the same on x86_64 and aarch64 (the kernel's asm-generic headers), and both
 * are little-endian. Each call throws NetworkError with the system's error code.
 */

export const AF = { INET: 2, INET6: 10, NETLINK: 16, PACKET: 17 } as const;
export const SOCK = { STREAM: 1, RAW: 3, NONBLOCK: 0o4000, CLOEXEC: 0o2000000 } as const;
const SOL = { IP: 0, SOCKET: 1, IPV6: 41, PACKET: 263, NETLINK: 270 } as const;
/** Socket options: `[level, option]`. */
export const OPTION = {
  REUSEADDR: [SOL.SOCKET, 2],
  REUSEPORT: [SOL.SOCKET, 15],
  /** The firewall mark of its packets. An accepted connection inherits it. Needs CAP_NET_ADMIN. */
  MARK: [SOL.SOCKET, 36],
  /** The interface, by its name, by which its packets come in. An accepted connection inherits it. */
  BINDTODEVICE: [SOL.SOCKET, 25],
  /** Bytes, at most net.core.wmem_max. */
  SNDBUF: [SOL.SOCKET, 7],
  /** Bytes, also above net.core.wmem_max and rmem_max. Need CAP_NET_ADMIN. */
  SNDBUFFORCE: [SOL.SOCKET, 32],
  RCVBUFFORCE: [SOL.SOCKET, 33],
  TRANSPARENT: [SOL.IP, 19],
  BIND_ADDRESS_NO_PORT: [SOL.IP, 24],
  V6ONLY: [SOL.IPV6, 26],
  TRANSPARENT_V6: [SOL.IPV6, 75],
  NO_ENOBUFS: [SOL.NETLINK, 5],
  /** Every frame follows a struct virtio_net_hdr. */
  VNET_HDR: [SOL.PACKET, 15],
} as const;
const CLONE_NEWNET = 0x40000000;
const MSG_DONTWAIT = 0x40;
const EFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const POLLIN = 1;
const SIOCETHTOOL = 0x8946;

// The C library that the process itself is linked to.
const libc = koffi.load(null);
const calls = {
  socket: libc.func("int socket(int, int, int)"),
  bind: libc.func("int bind(int, const void *, uint32_t)"),
  listen: libc.func("int listen(int, int)"),
  setsockopt: libc.func("int setsockopt(int, int, int, const void *, uint32_t)"),
  send: libc.func("intptr_t send(int, const void *, size_t, int)"),
  recv: libc.func("intptr_t recv(int, _Out_ void *, size_t, int)"),
  sendmmsg: libc.func("int sendmmsg(int, const void *, unsigned int, int)"),
  ioctl: libc.func("int ioctl(int, unsigned long, ...)"),
  setns: libc.func("int setns(int, int)"),
  eventfd: libc.func("int eventfd(uint32_t, int)"),
  poll: libc.func("int poll(_Inout_ void *, unsigned long, int)"),
  pwritev2: libc.func("intptr_t pwritev2(int, const void *, int, int64_t, int)"),
  mmap: libc.func("void *mmap(void *, size_t, int, int, int, int64_t)"),
  memfd_create: libc.func("int memfd_create(const char *, unsigned int)"),
  munmap: libc.func("int munmap(uint64_t, size_t)"),
  madvise: libc.func("int madvise(uint64_t, size_t, int)"),
} as const;

/** Makes a socket, and returns its file descriptor. */
export type SocketSource = (family: number, type: number, protocol: number) => number;

/** While `withSocketsFrom` runs: where sockets come from instead of from this thread. */
let otherSource: SocketSource | undefined;

/** A new socket that no child process inherits. Returns its file descriptor. */
export function socket(family: number, type: number, protocol: number): number {
  if (otherSource) return otherSource(family, type | SOCK.CLOEXEC, protocol);
  return must(calls.socket(family, type | SOCK.CLOEXEC, protocol), "socket");
}

/** Runs `make`, whose calls of `socket` get what `source` makes. */
export function withSocketsFrom<T>(source: SocketSource, make: () => T): T {
  const before = otherSource;
  otherSource = source;
  try {
    return make();
  } finally {
    otherSource = before;
  }
}

/** Binds to an IP address. A transparent socket may bind to one that is not this machine's. */
export function bindAddress(fd: number, address: string, port: number): void {
  const name = socketAddress(address, port);
  must(calls.bind(fd, name, name.length), "bind");
}

/** Binds a packet socket to one interface, by which its frames leave. It receives nothing. */
export function bindInterface(fd: number, index: number): void {
  const name = Buffer.alloc(20); // struct sockaddr_ll
  name.writeUInt16LE(AF.PACKET, 0);
  name.writeInt32LE(index, 4);
  must(calls.bind(fd, name, name.length), "bind");
}

/** Binds a netlink socket; the kernel chooses its port. */
export function bindNetlink(fd: number): void {
  const name = Buffer.alloc(12); // struct sockaddr_nl
  name.writeUInt16LE(AF.NETLINK, 0);
  must(calls.bind(fd, name, name.length), "bind");
}

export function listen(fd: number, backlog: number): void {
  must(calls.listen(fd, backlog), "listen");
}

export function setOption(fd: number, [level, option]: readonly [number, number], value: number | string): void {
  const bytes = typeof value === "string" ? Buffer.from(`${value}\0`) : Buffer.alloc(4);
  if (typeof value === "number") bytes.writeInt32LE(value);
  must(calls.setsockopt(fd, level, option, bytes, bytes.length), "setsockopt");
}

export function send(fd: number, message: Buffer): void {
  must(Number(calls.send(fd, message, message.length, 0)), "send");
}

/**
 * Sends the messages that `headers`, an array of struct mmsghdr, describes. Returns how many the kernel took: fewer than `count` when
 * its buffers are full, or when a message fails, whose error the next call throws.
 */
export function sendMany(fd: number, headers: Buffer, count: number): number {
  const sent = calls.sendmmsg(fd, headers, count, MSG_DONTWAIT);
  const { EAGAIN, ENOBUFS } = koffi.os.errno;
  if (sent < 0 && [EAGAIN, ENOBUFS].includes(koffi.errno())) return 0;
  return must(sent, "sendmmsg");
}

/** The address of this memory. It stays valid as long as the buffer is reachable. */
export function addressOf(memory: Buffer): bigint {
  return koffi.address(memory);
}

/** Asks the kernel about a network interface. Returns the 24 bytes of struct ifreq's union. */
export function askInterface(fd: number, request: number, name: string): Buffer {
  const question = Buffer.alloc(40);
  question.write(name, 0, 15, "latin1");
  must(calls.ioctl(fd, request, "void *", question), "ioctl");
  return question.subarray(16);
}

/** Asks or tells the driver of a network interface with a struct of linux/ethtool.h, which takes the answer. */
export function askDriver(fd: number, name: string, command: Buffer): void {
  const question = Buffer.alloc(40);
  question.write(name, 0, 15, "latin1");
  question.writeBigUInt64LE(addressOf(command), 16);
  must(calls.ioctl(fd, SIOCETHTOOL, "void *", question), "ioctl");
}

/** Receives one message without waiting. Returns its length in bytes; undefined: there is no message. */
export function receive(fd: number, into: Buffer): number | undefined {
  const length = Number(calls.recv(fd, into, into.length, MSG_DONTWAIT));
  if (length < 0 && koffi.errno() === koffi.os.errno["EAGAIN"]) return undefined;
  return must(length, "recv");
}

/** Has the kernel forget the pages once they are on the disk: Linux 6.14. */
export const RWF_DONTCACHE = 0x80;

/**
 * Writes at this position of the file, on a thread of libuv's pool. Answers how many bytes were written; -1: none, because the kernel or
 * the file system does not know these flags or this way to write, or cannot write at all.
 */
export function writeWith(flags: number, fd: number, pieces: readonly Buffer[], position: number): Promise<number> {
  const vector = Buffer.alloc(16 * pieces.length); // struct iovec
  for (const [index, piece] of pieces.entries()) {
    vector.writeBigUInt64LE(addressOf(piece), 16 * index);
    vector.writeBigUInt64LE(BigInt(piece.length), 16 * index + 8);
  }
  return new Promise((resolve, reject) => {
    calls.pwritev2.async(fd, vector, pieces.length, position, flags, (error: Error | null, written: number) => {
      // The thread reads from them: they are named here so that they are reachable until it has.
      if (error || pieces.length === 0) reject(error);
      else resolve(Number(written));
    });
  });
}

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MADV_DONTNEED = 4;
const MADV_HUGEPAGE = 14;
const MAP_FAILED = 0xffffffffffffffffn;

const MFD_CLOEXEC = 1;

/** A file in memory, without a name on any disk. `name` is for people who look into /proc. */
export function memoryFile(name: string): number {
  return must(calls.memfd_create(name, MFD_CLOEXEC), "memfd_create");
}

/** The first bytes of a file as memory, for the life of the process: what is written to it is in the file at once. */
export function mapShared(fd: number, bytes: number): ArrayBuffer {
  return map(fd, bytes, PROT_READ_WRITE).buffer;
}

/** The first bytes of a file as memory that is only read; to write to it ends the process. `unmap` takes the address. */
export function mapForReading(fd: number, bytes: number): { readonly memory: bigint; readonly buffer: ArrayBuffer } {
  return map(fd, bytes, PROT_READ);
}

function map(fd: number, bytes: number, protection: number): { readonly memory: bigint; readonly buffer: ArrayBuffer } {
  const mapped = calls.mmap(null, bytes, protection, MAP_SHARED, fd, 0);
  const memory = mapped === null ? MAP_FAILED : BigInt.asUintN(64, BigInt(koffi.address(mapped)));
  if (memory === MAP_FAILED) must(-1, "mmap");
  return { memory, buffer: koffi.view(mapped, bytes) };
}

/** Takes back what `mapForReading` mapped. Nothing may read it any more. */
export function unmap(memory: bigint, bytes: number): void {
  must(calls.munmap(memory, bytes), "munmap");
}

/** The pages of a mapped file leave this process. Whoever reads them once more gets them from the file again (madvise(2)). */
export function forget(memory: bigint, bytes: number): void {
  must(calls.madvise(memory, bytes, MADV_DONTNEED), "madvise");
}

/** Has the kernel take large pages for this memory when it is used first. Kernels without them answer EINVAL, and nothing changes. */
export function preferLargePages(memory: Buffer): void {
  calls.madvise(addressOf(memory), memory.length, MADV_HUGEPAGE);
}

/** Moves the calling thread into the network namespace of this file descriptor. */
export function enterNamespace(fd: number): void {
  must(calls.setns(fd, CLONE_NEWNET), "setns");
}

/** A file descriptor that becomes readable when 8 bytes are written to it. It ends a wait. */
export function eventDescriptor(): number {
  return must(calls.eventfd(0, EFD_NONBLOCK_CLOEXEC), "eventfd");
}

/**
 * Waits until one of the two descriptors is readable, then calls `over`. Each wait occupies a thread of libuv's pool. `second` is for
 * ending the wait: a process that exits must end it, because libuv joins its threads.
 */
export function readableWait(first: number, second: number): (over: () => void) => void {
  const polled = Buffer.alloc(16); // two of struct pollfd
  polled.writeInt32LE(first, 0);
  polled.writeInt16LE(POLLIN, 4);
  polled.writeInt32LE(second, 8);
  polled.writeInt16LE(POLLIN, 12);
  // The thread writes into this memory. The callback refers to `polled`, which so outlives the call.
  return (over) =>
    calls.poll.async(polled, 2, -1, () => {
      // A signal may end a wait early. Then the caller reads nothing, and waits again.
      polled.fill(0, 6, 8);
      over();
    });
}

function socketAddress(address: string, port: number): Buffer {
  const bytes = Buffer.from(ipaddr.parse(address).toByteArray());
  const v6 = isIPv6(address);
  const name = Buffer.alloc(v6 ? 28 : 16); // struct sockaddr_in6, sockaddr_in
  name.writeUInt16LE(v6 ? AF.INET6 : AF.INET, 0);
  name.writeUInt16BE(port, 2);
  bytes.copy(name, v6 ? 8 : 4);
  return name;
}

/** The call's result, or NetworkError with the system's error code of the call right before. */
export function must(result: number, call: string): number {
  if (result >= 0) return result;
  const code = getSystemErrorName(-koffi.errno());
  throw new NetworkError(`The system call ${call} failed: ${code}`, code);
}
