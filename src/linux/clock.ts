import koffi from "koffi";

const libc = koffi.load(null);
const adjtimex = libc.func("int adjtimex(void *)");

/** struct timex on 64-bit Linux: its length, and where its status is. */
const TIMEX = { length: 208, status: 40 } as const;
const STA_UNSYNC = 0x40;
const TIME_ERROR = 5;

/**
 * Whether the kernel's clock is kept by NTP or the like: adjtimex(2), which changes nothing when `modes` is 0. Undefined: this process may
 * not ask.
 */
export function isClockKept(): boolean | undefined {
  const timex = Buffer.alloc(TIMEX.length);
  const state: number = adjtimex(timex);
  if (state < 0) return undefined;
  return state !== TIME_ERROR && (timex.readInt32LE(TIMEX.status) & STA_UNSYNC) === 0;
}
