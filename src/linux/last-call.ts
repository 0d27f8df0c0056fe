import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { mapShared } from "./syscalls.ts";

/**
 * Which call into C a process made last. A crash in C leaves no other trace: the record is 64 bytes of a file that is mapped into
 * memory, so a call costs three writes to memory, and the kernel keeps them when the process dies.
 */

/** What is recorded, by its number in the record. Only add at the end: the reader may be of an earlier start. */
export const CALLS = [
  "nothing",
  "SSL_do_handshake",
  "SSL_read",
  "SSL_write",
  "SSL_shutdown",
  "SSL_new",
  "SSL_free",
  "SSL_CTX_new",
  "SSL_CTX_free",
  "X509_verify_cert",
] as const;
export type CallName = (typeof CALLS)[number];

export const CALL = Object.fromEntries(CALLS.map((name, index) => [name, index])) as Readonly<Record<CallName, number>>;

/** 32-bit words of the record. */
const WORD = { pid: 0, call: 1, isUnderWay: 2, descriptor: 3 } as const;
const RECORD = 64;

/** The record's file in the data folder. */
export function lastCallFile(worker: number): string {
  return `worker-${worker}.call`;
}

/** Until a file is opened, the record is kept where nobody looks. */
let record = new Int32Array(RECORD / 4);

/** Keeps this process's record in the file from now on. Throws what the system throws. */
export function keepLastCall(file: string): void {
  const fd = openSync(file, "w+", 0o600);
  try {
    // Written, not only made longer: on a full disk a write to the mapped memory would end the process.
    writeSync(fd, Buffer.alloc(RECORD));
    record = new Int32Array(mapShared(fd, RECORD));
    record[WORD.pid] = process.pid;
  } finally {
    closeSync(fd);
  }
}

/** Before a call. `descriptor`: the connection that it is about; -1: none. */
export function calling(call: number, descriptor: number): void {
  record[WORD.call] = call;
  record[WORD.descriptor] = descriptor;
  record[WORD.isUnderWay] = 1;
}

/** The call has returned. */
export function called(): void {
  record[WORD.isUnderWay] = 0;
}

/** What the process `pid` called last: "SSL_read on descriptor 31, which had not returned". Undefined: the file does not say. */
export function readLastCall(file: string, pid: number): string | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    return undefined;
  }
  if (bytes.length < RECORD || bytes.readInt32LE(WORD.pid * 4) !== pid) return undefined;
  const name = CALLS[bytes.readInt32LE(WORD.call * 4)] ?? "a call that this version does not know";
  if (name === "nothing") return name;
  const descriptor = bytes.readInt32LE(WORD.descriptor * 4);
  const about = descriptor < 0 ? "" : ` on descriptor ${descriptor}`;
  const isUnderWay = bytes.readInt32LE(WORD.isUnderWay * 4) === 1;
  return `${name}${about}, which had ${isUnderWay ? "not " : ""}returned`;
}
