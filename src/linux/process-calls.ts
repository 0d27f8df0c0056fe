import koffi from "koffi";
import { must } from "./syscalls.ts";

/** System calls about this process: its limits, its rights and its locks. Each throws NetworkError with the system's error code. */

const libc = koffi.load(null);
const calls = {
  setrlimit: libc.func("int setrlimit(int, const void *)"),
  prctl: libc.func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)"),
  capset: libc.func("int capset(const void *, const void *)"),
  flock: libc.func("int flock(int, int)"),
  malloc_trim: libc.func("int malloc_trim(size_t)"),
} as const;

const RLIMIT_CORE = 4;

/** No core file is written of this process or of those that it starts. */
export function forbidCores(): void {
  // struct rlimit: the soft and the hard limit, 64 bits each.
  must(calls.setrlimit(RLIMIT_CORE, Buffer.alloc(16)), "setrlimit");
}

const LOCK_EX_NB = 2 | 4;

/** Takes the only lock on an open file, which lasts as long as this process. false: another process has it. */
export function lockFile(fd: number): boolean {
  const result = calls.flock(fd, LOCK_EX_NB);
  if (result < 0 && koffi.errno() === koffi.os.errno["EAGAIN"]) return false;
  must(result, "flock");
  return true;
}

const PR_SET_DUMPABLE = 4;
const PR_SET_KEEPCAPS = 8;

/**
 * Lets no process of the same user read this one's memory or trace it: for that the kernel then wants CAP_SYS_PTRACE. It
 * also writes no core file. Lasts until the process executes another program.
 */
export function forbidInspection(): void {
  must(calls.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl");
}

/** The opposite: a change of the process's user forbids it too. */
export function allowInspection(): void {
  must(calls.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl");
}

/** The calling thread keeps its permitted capabilities when the process stops being root. */
export function keepCapabilities(): void {
  must(calls.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl");
}

const CAPABILITY_VERSION_3 = 0x2008_0522;

/** The calling thread has these capabilities, as a mask of their numbers, and hands none to a program that it executes. */
export function setCapabilities(mask: bigint): void {
  const header = Buffer.alloc(8); // struct __user_cap_header_struct: the version, and 0 for this thread
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  const data = Buffer.alloc(24); // twice effective, permitted, inheritable: the lower 32 capabilities, then the others
  for (const [offset, half] of [mask & 0xffff_ffffn, mask >> 32n].entries()) {
    data.writeUInt32LE(Number(half), offset * 12);
    data.writeUInt32LE(Number(half), offset * 12 + 4);
  }
  must(calls.capset(header, data), "capset");
}

/** Gives what malloc holds free back to the kernel. */
export function trimMemory(): void {
  calls.malloc_trim(0);
}
