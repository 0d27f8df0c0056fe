/** Below this many sides, each as likely. */
export type Dice = (sides: number) => number;

/** Mulberry32, a small generator with the same numbers everywhere. */
export function createDice(seed: number): Dice {
  let state = seed;
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % sides;
  };
}

/** Far more than any input of the corpus: repeats must not grow without end. */
const LONGEST = 128 * 1024;
/** Lengths at which readers change their minds. */
const LENGTHS = [0, 1, 0x7f, 0x80, 0xff, 0x3fff, 0x4000, 0x4001, 0x7fff, 0xffff] as const;

type Way = (bytes: Buffer, at: number, dice: Dice, other: Buffer) => Buffer;

/** Ways to change bytes. `at` is at most the length; `other` is another input of the same parser. */
const WAYS: readonly Way[] = [
  (bytes, at, dice) => written(bytes, at, Buffer.of(dice(256))),
  (bytes, at, dice) => written(bytes, at, Buffer.of((bytes[at] ?? 0) ^ (1 << dice(8)))),
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, dice) => joined(bytes.subarray(0, at), noise(dice), bytes.subarray(at)),
  (bytes, at, dice) => joined(bytes.subarray(0, at), bytes.subarray(at + dice(8))),
  (bytes, at, dice) => joined(bytes.subarray(0, at), bytes.subarray(at + dice(bytes.length - at + 1))),
  (bytes, at) => joined(bytes, bytes.subarray(at)),
  (bytes, at, dice) => repeated(bytes, at, 1 + dice(32), 2 + dice(64)),
  (bytes, at, dice) => written(bytes, at, u16(LENGTHS[dice(LENGTHS.length)]!)),
  (bytes, at, dice) => written(bytes, at, Buffer.of(LENGTHS[dice(5)]!)),
  (bytes, at, dice, other) => joined(bytes.subarray(0, at), other.subarray(dice(other.length + 1))),
  (bytes, at, dice, other) => joined(bytes.subarray(0, at), other, bytes.subarray(at + dice(8))),
];

/** Changes bytes one to four times. The input is left as it is. */
export function spoil(original: Buffer, dice: Dice, other: Buffer = original): Buffer {
  let bytes = original;
  for (let times = 1 + dice(4); times > 0; times -= 1) {
    bytes = WAYS[dice(WAYS.length)]!(bytes, dice(bytes.length + 1), dice, other).subarray(0, LONGEST);
  }
  return Buffer.from(bytes);
}

function written(bytes: Buffer, at: number, piece: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  piece.copy(copy, at);
  return copy;
}

function repeated(bytes: Buffer, at: number, length: number, times: number): Buffer {
  const piece = bytes.subarray(at, at + length);
  return joined(bytes.subarray(0, at), ...Array.from({ length: times }, () => piece), bytes.subarray(at));
}

function noise(dice: Dice): Buffer {
  return Buffer.from(Array.from({ length: dice(12) }, () => dice(256)));
}

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255);
}

function joined(...parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts);
}
