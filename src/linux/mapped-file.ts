import { closeSync, fstatSync, openSync } from "node:fs";
import { mapForReading, unmap } from "./syscalls.ts";

/** Unmaps the memory of buffers that nothing refers to any more: a policy lives as long as the last session that began under it. */
const unused = new FinalizationRegistry<readonly [memory: bigint, bytes: number]>(([memory, bytes]) => {
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
    unused.register(buffer, [memory, size]);
    return new Uint8Array(buffer);
  } finally {
    closeSync(fd);
  }
}
