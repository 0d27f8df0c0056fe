import { readSync, writeSync } from "node:fs";
import { mapShared, memoryFile } from "./syscalls.ts";

/**
 * Which call into C a process made last. A crash in C leaves no other trace: the record is 64 bytes of a file that is mapped into
 * memory, so a call costs three writes to memory, and the process's parent, which has the file too, reads them when the process has died.
 * The file is on no disk: one that hangs would hold up whoever writes to the memory.
 */

/** What is recorded, by its number in the record. */
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

/** The descriptor with which a worker inherits its record. */
export const INHERITED_RECORD = 4;

/** Makes the record of a process that is to be started. Throws what the system throws. */
export function makeCallRecord(): number {
  const fd = memoryFile("clearline-last-call");
  writeSync(fd, Buffer.alloc(RECORD));
  return fd;
}

/** Until there is a file, the record is kept where nobody looks. */
let record = new Int32Array(RECORD / 4);

/** Keeps this process's record in the file from now on. Throws what the system throws. */
export function keepLastCall(fd: number): void {
  record = new Int32Array(mapShared(fd, RECORD));
  record[WORD.pid] = process.pid;
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
export function readLastCall(fd: number, pid: number): string | undefined {
  const bytes = Buffer.alloc(RECORD);
  if (readSync(fd, bytes, 0, RECORD, 0) < RECORD || bytes.readInt32LE(WORD.pid * 4) !== pid) return undefined;
  const name = CALLS[bytes.readInt32LE(WORD.call * 4)] ?? "a call that this version does not know";
  if (name === "nothing") return name;
  const descriptor = bytes.readInt32LE(WORD.descriptor * 4);
  const about = descriptor < 0 ? "" : ` on descriptor ${descriptor}`;
  const isUnderWay = bytes.readInt32LE(WORD.isUnderWay * 4) === 1;
  return `${name}${about}, which had ${isUnderWay ? "not " : ""}returned`;
}
