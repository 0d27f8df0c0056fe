import { closeSync, fstatSync, openSync } from "node:fs";
import { forget, mapForReading, unmap } from "./syscalls.ts";

type Place = readonly [memory: bigint, bytes: number];

/** Where the buffers of mapped files are. */
const places = new WeakMap<ArrayBufferLike, Place>();

/** Unmaps the memory of buffers that nothing refers to any more: a policy lives as long as the last session that began under it. */
const unused = new FinalizationRegistry<Place>(([memory, bytes]) => {
  unmap(memory, bytes);
});

/**
 * A file as memory, which all processes that map it share. The file must not be written to or cut any more. Throws what the system
 * throws.
 */
export function mapFile(file: string): Uint8Array {
  const fd = openSync(file, "r");
  try {
    const { size } = fstatSync(fd);
    const { memory, buffer } = mapForReading(fd, size);
    places.set(buffer, [memory, size]);
    unused.register(buffer, [memory, size]);
    return new Uint8Array(buffer);
  } finally {
    closeSync(fd);
  }
}

/**
 * Gives the memory of a mapped file back to the system, although it can still be read: then it comes from the file again. A buffer is
 * unmapped only when V8 collects it, which it does not do while nothing happens.
 */
export function letGo(mapped: Uint8Array): void {
  const place = places.get(mapped.buffer);
  if (place) forget(...place);
}
