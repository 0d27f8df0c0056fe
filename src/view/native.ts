import koffi from "koffi";
import { InvariantError } from "../errors.ts";

/**
 * The C functions that the view calls: llhttp and nghttp2's HPACK are in the Node program, which exports them, so that HTTP is read by the
 * parsers that Node itself uses. A pointer is a number here and 0 is NULL. docs/node-internals.md lists what this relies on.
 */

const program = koffi.load(null);

type NumberFunction = (...args: readonly (number | Buffer)[]) => number;

/** In the order of the C prototype: the result's type, then the arguments' types. */
function prototype(name: string, result: string, ...args: readonly string[]): NumberFunction {
  try {
    return program.func(name, result, [...args]) as NumberFunction;
  } catch {
    throw new InvariantError(`The Node program does not export ${name}`);
  }
}

/** `ptr`: an address as a number. `mem`: a Buffer. */
const [int, ptr, mem, size] = ["int", "uintptr_t", "void *", "size_t"] as const;

const libc = { memcpy: prototype("memcpy", ptr, mem, ptr, size) } as const;

export const llhttp = {
  init: prototype("llhttp_init", "void", mem, int, mem),
  settings_init: prototype("llhttp_settings_init", "void", mem),
  execute: prototype("llhttp_execute", int, mem, mem, size),
  finish: prototype("llhttp_finish", int, mem),
  resume_after_upgrade: prototype("llhttp_resume_after_upgrade", "void", mem),
  error_pos: prototype("llhttp_get_error_pos", ptr, mem),
  method: prototype("llhttp_get_method", "uint8_t", mem),
  status: prototype("llhttp_get_status_code", int, mem),
  major: prototype("llhttp_get_http_major", "uint8_t", mem),
  minor: prototype("llhttp_get_http_minor", "uint8_t", mem),
  upgrade: prototype("llhttp_get_upgrade", "uint8_t", mem),
} as const;

const texts = {
  errorName: program.func("llhttp_errno_name", "const char *", [int]) as (code: number) => string,
  methodName: program.func("llhttp_method_name", "const char *", [int]) as (method: number) => string,
} as const;
export const { errorName, methodName } = texts;

export const hpack = {
  create: prototype("nghttp2_hd_inflate_new", int, mem),
  destroy: prototype("nghttp2_hd_inflate_del", "void", ptr),
  resize: prototype("nghttp2_hd_inflate_change_table_size", int, ptr, size),
  read: prototype("nghttp2_hd_inflate_hd3", "intptr_t", ptr, mem, mem, ptr, size, int),
  end: prototype("nghttp2_hd_inflate_end_headers", int, ptr),
} as const;

/** Memory that C may keep the address of: it never moves, and lives as long as the Buffer is reachable. */
export function memory(bytes: number): Buffer {
  // Through an ArrayBuffer: V8 keeps a small Uint8Array's bytes inside of the object, which moves.
  return Buffer.from(new ArrayBuffer(bytes));
}

/** Where this memory begins. The caller keeps the Buffer as long as C has the address. */
export function addressOf(bytes: Buffer): number {
  return Number(koffi.address(bytes));
}

/** Reads `length` bytes that C owns, now. */
export function copyFrom(address: number, length: number): Buffer {
  const bytes = memory(length);
  if (length > 0) libc.memcpy(bytes, address, length);
  return bytes;
}

/** The address of a JavaScript function that C may call, for the life of the process. An exception must not cross C. */
export function callback(name: string, body: (parser: number, at: number, length: number) => number): number {
  const type = koffi.pointer(koffi.proto(`clearline_view_${name}`, int, [ptr, ptr, size]));
  return Number(koffi.address(koffi.register(body, type)));
}
