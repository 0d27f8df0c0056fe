/** Memory for packets, with three views of the same bytes. The length is a multiple of four. */
export interface Block {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
  readonly view: DataView;
}

/** `size` in bytes, a multiple of four. */
export function newBlock(size: number): Block {
  const bytes = Buffer.alloc(size);
  const { buffer, byteOffset } = bytes;
  return {
    bytes,
    words: new Uint32Array(buffer, byteOffset, size / 4),
    view: new DataView(buffer, byteOffset, size),
  };
}
