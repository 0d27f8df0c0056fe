import { closeSync, writeSync } from "node:fs";
import { eventDescriptor, readableWait } from "../linux/syscalls.ts";

/** Files are written by libuv's threads, four by default: with these waits under way, no write ends. */
export function occupyThreads(): { readonly end: () => void } {
  const [never, over] = [eventDescriptor(), eventDescriptor()];
  let waits = 4;
  for (let thread = waits; thread > 0; thread--) {
    readableWait(
      never,
      over,
    )(() => {
      waits -= 1;
      if (waits === 0) for (const fd of [never, over]) closeSync(fd);
    });
  }
  return {
    end() {
      if (waits > 0) writeSync(over, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
    },
  };
}
