import { addressOf, preferLargePages } from "../linux/syscalls.ts";

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

/** Bytes of a large page, and what is left of the last one. */
const LARGE_PAGE = 2 * 1024 * 1024;
let left: Buffer<ArrayBuffer> = Buffer.alloc(0);

/**
 * A block that begins at a page of memory. Blocks are cut from large pages, where the kernel has them: on the way to the disk it looks for
 * the memory of each page. `size`: whole pages, at most a large one.
 */
export function newPages(size: number): Block {
  if (left.length < size) left = newLargePage();
  const bytes = left.subarray(0, size);
  left = left.subarray(size);
  return viewsOf(bytes);
}

function newLargePage(): Buffer<ArrayBuffer> {
  // Twice as much, of which only one large page is ever touched.
  const bytes = Buffer.alloc(2 * LARGE_PAGE);
  const start = Number(-addressOf(bytes) & BigInt(LARGE_PAGE - 1));
  const page = bytes.subarray(start, start + LARGE_PAGE);
  preferLargePages(page);
  return page;
}

function viewsOf(bytes: Buffer): Block {
  const { buffer, byteOffset } = bytes;
  return {
    bytes,
    words: new Uint32Array(buffer, byteOffset, bytes.length / 4),
    view: new DataView(buffer, byteOffset, bytes.length),
  };
}
