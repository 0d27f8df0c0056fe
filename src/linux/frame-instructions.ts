import { instruction } from "./bpf.ts";

/** The instructions of programs for frames, by what they do: RFC 9669. Register 6 points to the frame's struct __sk_buff. */

/** Fields of struct __sk_buff. Of the numbers in them, those of protocols are in network order. */
export const FIELD = { MARK: 8, PROTOCOL: 16, TAG_PRESENT: 20, TAG: 24, TAG_TYPE: 28, PRIORITY: 32 } as const;
export const HELPER = {
  MAP_LOOKUP: 1,
  MAP_UPDATE: 2,
  VLAN_PUSH: 18,
  VLAN_POP: 19,
  REDIRECT: 23,
  LOAD_BYTES: 26,
} as const;
/** What a program answers: the next program decides, or the frame is dropped. */
export const NEXT = -1;
const DROP = 2;
export const INTO_INTERFACE = 1;

export const [R0, R1, R2, R3, R4, R6, R7, R8, R9, R10] = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10];

export const set = (to: number, value: number) => instruction(0xb7, to, 0, 0, value);
export const copy = (to: number, from: number) => instruction(0xbf, to, from, 0, 0);
export const add = (to: number, value: number) => instruction(0x07, to, 0, 0, value);
export const mask = (to: number, bits: number) => instruction(0x57, to, 0, 0, bits);
export const orBits = (to: number, bits: number) => instruction(0x47, to, 0, 0, bits);
export const orWith = (to: number, from: number) => instruction(0x4f, to, from, 0, 0);
export const shiftLeft = (to: number, by: number) => instruction(0x67, to, 0, 0, by);
export const shiftRight = (to: number, by: number) => instruction(0x77, to, 0, 0, by);
export const networkOrder16 = (to: number) => instruction(0xdc, to, 0, 0, 16);
export const read = (to: number, field: number) => instruction(0x61, to, R6, field, 0);
export const write = (field: number, from: number) => instruction(0x63, R6, from, field, 0);
export const read8 = (to: number, from: number, offset: number) => instruction(0x71, to, from, offset, 0);
export const read16 = (to: number, from: number, offset: number) => instruction(0x69, to, from, offset, 0);
export const read32 = (to: number, from: number, offset: number) => instruction(0x61, to, from, offset, 0);
export const store8 = (to: number, offset: number, value: number) => instruction(0x72, to, 0, offset, value);
export const store64 = (to: number, offset: number, value: number) => instruction(0x7a, to, 0, offset, value);
export const store32From = (to: number, offset: number, from: number) => instruction(0x63, to, from, offset, 0);
/** One instruction of twice the size: BPF_PSEUDO_MAP_FD. */
export const mapInto = (to: number, fd: number) => [instruction(0x18, to, 1, 0, fd), instruction(0, 0, 0, 0, 0)];
export const call = (helper: number) => instruction(0x85, 0, 0, 0, helper);
export const EXIT = instruction(0x95, 0, 0, 0, 0);
/** Goes on behind `over` others. */
export const skip = (over: number) => instruction(0x05, 0, 0, over, 0);
/** The same, if the register has this value. */
export const ifEqual = (of: number, value: number, over: number) => instruction(0x15, of, 0, over, value);

/** The same, if it has another one. */
export const ifDiffers = (of: number, value: number, over: number) => instruction(0x55, of, 0, over, value);

export const END_IF_NOT_OURS = [set(R0, NEXT), EXIT];
export const DROP_FRAME = [set(R0, DROP), EXIT];

/** Ends the program, by `otherwise`, unless the register has this value. */
export const must = (of: number, value: number, otherwise: readonly Buffer[]) => [
  ifEqual(of, value, otherwise.length),
  ...otherwise,
];

/** Copies bytes of the frame, from the offset in R2, to the stack. R0 is 0 then. */
export const copyBytes = (toStack: number, length: number) => [
  copy(R1, R6),
  copy(R3, R10),
  add(R3, toStack),
  set(R4, length),
  call(HELPER.LOAD_BYTES),
  ...must(R0, 0, END_IF_NOT_OURS),
];

/** Two bytes of a frame, as a little-endian processor reads them. */
export function inNetworkOrder(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}
