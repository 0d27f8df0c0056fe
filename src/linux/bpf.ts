import { closeSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import koffi from "koffi";
import { NetworkError } from "../errors.ts";
import { addressOf } from "./syscalls.ts";

/** Programs for packets (BPF) at the entry and the exit of network interfaces: linux/bpf.h. They stay there without a process. */

const SYSTEM_CALL = process.arch === "arm64" ? 280 : 321;
const COMMAND = { MAP_CREATE: 0, PROG_LOAD: 5, PROG_ATTACH: 8, PROG_DETACH: 9, PROG_QUERY: 16 } as const;
const SCHED_CLS = 3;
/** When it is full, what was not used for longest goes. */
const LRU_HASH = 9;
/** The attach types BPF_TCX_INGRESS and BPF_TCX_EGRESS. */
const HOOKS = { ingress: 46, egress: 47 } as const;
export type Hook = keyof typeof HOOKS;
const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;
const BPF_F_ID = 1 << 5;
/** Programs at one hook: the kernel allows 63. */
const MOST = 64;
const MOST_ATTEMPTS = 100;

const libc = koffi.load(null);
const syscall = libc.func("long syscall(long, long, void *, ...)");

/** One instruction as 8 bytes: RFC 9669, section 3. */
export function instruction(opcode: number, to: number, from: number, offset: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(opcode, 0);
  bytes.writeUInt8(to | (from << 4), 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(value | 0, 4);
  return bytes;
}

/**
 * Loads a program, and puts it behind those that are at this hook of the interface already. Answers its number. Throws NetworkError:
 * EPERM without CAP_BPF and CAP_NET_ADMIN, EINVAL on a kernel older than 6.6, ENODEV.
 */
export function attachProgram(index: number, hook: Hook, name: string, program: readonly Buffer[]): number {
  const fd = load(name, Buffer.concat(program));
  try {
    const attribute = Buffer.alloc(32);
    attribute.writeUInt32LE(index, 0);
    attribute.writeUInt32LE(fd, 4);
    attribute.writeUInt32LE(HOOKS[hook], 8);
    bpf(COMMAND.PROG_ATTACH, attribute, "attach a program to an interface");
  } finally {
    closeSync(fd);
  }
  const number = programsAt(index, hook).at(-1);
  if (number === undefined) throw new NetworkError("Cannot attach a program to an interface: ENOENT", "ENOENT");
  return number;
}

/**
 * Makes a map, for the programs that are loaded with its descriptor, and has `use` load them. It stays for as long as one of them does.
 * Sizes in bytes. Throws NetworkError.
 */
export function withMap<T>(sizes: { key: number; value: number; entries: number }, use: (fd: number) => T): T {
  const attribute = Buffer.alloc(72);
  for (const [at, value] of [LRU_HASH, sizes.key, sizes.value, sizes.entries].entries()) {
    attribute.writeUInt32LE(value, 4 * at);
  }
  const fd = bpf(COMMAND.MAP_CREATE, attribute, "make a map for programs");
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whether this kernel has the hooks, takes this program, and lets this process load it. */
export function takesProgram(program: readonly Buffer[]): boolean {
  try {
    // Linux 6.6 and newer know the hook; every network namespace has its loopback interface at this index.
    programsAt(1, "ingress");
    closeSync(load("clearline_probe", Buffer.concat(program)));
    return true;
  } catch (error) {
    if (error instanceof NetworkError) return false;
    throw error;
  }
}

/** The numbers of the programs at this hook, in order. The kernel gives no number twice. Throws NetworkError. */
export function programsAt(index: number, hook: Hook): readonly number[] {
  const numbers = Buffer.alloc(4 * MOST);
  const attribute = Buffer.alloc(64);
  attribute.writeUInt32LE(index, 0);
  attribute.writeUInt32LE(HOOKS[hook], 4);
  attribute.writeBigUInt64LE(addressOf(numbers), 16);
  attribute.writeUInt32LE(MOST, 24);
  try {
    bpf(COMMAND.PROG_QUERY, attribute, "read the programs of an interface");
  } catch (error) {
    if (error instanceof NetworkError && error.code === "ENOENT") return [];
    throw error;
  }
  return Array.from({ length: attribute.readUInt32LE(24) }, (_, at) => numbers.readUInt32LE(4 * at));
}

/**
 * Takes a program away from this hook. A program's descriptor would need CAP_SYS_ADMIN, so it is named by its neighbour: the kernel
 * takes the one before or behind another, or the first.
 */
export function detachProgram(index: number, hook: Hook, number: number): void {
  const present = programsAt(index, hook);
  const at = present.indexOf(number);
  if (at < 0) return;
  const [before, behind] = [present[at - 1], present[at + 1]];
  const attribute = Buffer.alloc(32);
  attribute.writeUInt32LE(index, 0);
  attribute.writeUInt32LE(HOOKS[hook], 8);
  const side = before === undefined ? BPF_F_BEFORE : BPF_F_AFTER;
  const neighbour = before ?? behind;
  attribute.writeUInt32LE(neighbour === undefined ? side : side | BPF_F_ID, 12);
  attribute.writeUInt32LE(neighbour ?? 0, 20);
  bpf(COMMAND.PROG_DETACH, attribute, "take a program away from an interface");
}

function load(name: string, program: Buffer): number {
  const license = Buffer.from("Apache-2.0\0");
  const attribute = Buffer.alloc(128);
  attribute.writeUInt32LE(SCHED_CLS, 0);
  attribute.writeUInt32LE(program.length / 8, 4);
  attribute.writeBigUInt64LE(addressOf(program), 8);
  attribute.writeBigUInt64LE(addressOf(license), 16);
  attribute.write(name, 48, 15, "latin1");
  for (let attempt = 1; ; attempt += 1) {
    try {
      return bpf(COMMAND.PROG_LOAD, attribute, "load a program for packets");
    } catch (error) {
      // The kernel stops checking a program when a signal arrives, such as that of a child that has ended.
      if (!(error instanceof NetworkError) || error.code !== "EAGAIN" || attempt === MOST_ATTEMPTS) throw error;
    }
  }
}

function bpf(command: number, attribute: Buffer, action: string): number {
  const result = Number(syscall(SYSTEM_CALL, command, attribute, "long", attribute.length));
  if (result >= 0) return result;
  const code = getSystemErrorName(-koffi.errno());
  throw new NetworkError(`Cannot ${action}: ${WHY[code] ?? code}`, code);
}

const WHY: Readonly<Record<string, string>> = {
  EPERM: "EPERM: it needs the capabilities CAP_BPF and CAP_NET_ADMIN",
  EINVAL: "EINVAL: it needs Linux 6.6 or newer",
  ENOSYS: "ENOSYS: this kernel is built without BPF",
};
