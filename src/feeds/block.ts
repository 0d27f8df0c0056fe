import { addressOf } from "../linux/syscalls.ts";

/** Memory for packets, with three views of the same bytes. The length is a multiple of four. */
export interface Block {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly view: DataView;
}

/** `size` in bytes, a multiple of four. */
export function newBlock(size: number): Block {
  return viewsOf(Buffer.alloc(size));
}

/** Bytes of a page: what bypasses the page cache begins and ends at whole pages, in memory and in the file. */
export const PAGE = 4096;

/** A block that begins at a page of memory. */
export function newPages(size: number): Block {
  const bytes = Buffer.alloc(size + PAGE);
  const start = Number(-addressOf(bytes) & BigInt(PAGE - 1));
  return viewsOf(bytes.subarray(start, start + size));
}

function viewsOf(bytes: Buffer): Block {
  const { buffer, byteOffset } = bytes;
  return {
    bytes,
    words: new Uint32Array(buffer, byteOffset, bytes.length / 4),
    view: new DataView(buffer, byteOffset, bytes.length),
  };
}
