import {
  call,
  copy,
  copyBytes,
  DROP_FRAME,
  END_IF_NOT_OURS,
  EXIT,
  FIELD,
  HELPER,
  INTO_INTERFACE,
  ifEqual,
  inNetworkOrder,
  mask,
  must,
  NEXT,
  networkOrder16,
  orBits,
  orWith,
  R0,
  R1,
  R2,
  R3,
  R6,
  R7,
  R8,
  R10,
  read,
  read16,
  set,
  shiftLeft,
  shiftRight,
  skip,
  write,
} from "./frame-instructions.ts";

/**
 * The programs of a VLAN. `steer` stands at the entry of a network interface: it hands the VLAN's frames to the VLAN's own interface.
 * There `untag` takes the tags off as they come in, and `tag` puts them on as they leave, by the network interface. The priority of a
 * frame's tags (IEEE 802.1Q: PCP and DEI) is kept on its way.
 */

/** The types of a tag: IEEE 802.1Q (a customer's), and 802.1ad (a service provider's). */
export const TAG_TYPES = { "802.1Q": 0x8100, "802.1ad": 0x88a8 } as const;
export type TagType = keyof typeof TAG_TYPES;

/** The tags of one VLAN: its id, and those of the tag around it (QinQ). */
export interface VlanTags {
  readonly id: number;
  readonly outer?: { readonly id: number; readonly type: TagType } | undefined;
}

/** "10"; "100/10": the VLAN 10 in the outer tag 100. */
export function nameVlan({ id, outer }: VlanTags): string {
  return outer ? `${outer.id}/${id}` : `${id}`;
}

/** In a frame's priority, above the eight bits of its two tags: it came with them. */
export const CAME_TAGGED = 0x43_4c_56_00;

/** For the entry of a network interface: the VLAN's frames come in by the interface with the index `to`; others go on as before. */
export function steerVlan({ id, outer }: VlanTags, to: number): readonly Buffer[] {
  const type = TAG_TYPES[outer?.type ?? "802.1Q"];
  const inner = [
    read(R0, FIELD.PROTOCOL),
    ...must(R0, inNetworkOrder(TAG_TYPES["802.1Q"]), END_IF_NOT_OURS),
    // The kernel has taken the outer tag out of the frame: the inner one follows the two hardware addresses and its type.
    set(R2, 14),
    ...copyBytes(-8, 2),
    read16(R0, R10, -8),
    networkOrder16(R0),
    mask(R0, 0xfff),
    ...must(R0, id, END_IF_NOT_OURS),
  ];
  return [
    copy(R6, R1),
    read(R0, FIELD.TAG_PRESENT),
    ...must(R0, 1, END_IF_NOT_OURS),
    read(R0, FIELD.TAG_TYPE),
    ...must(R0, inNetworkOrder(type), END_IF_NOT_OURS),
    read(R0, FIELD.TAG),
    mask(R0, 0xfff),
    ...must(R0, outer?.id ?? id, END_IF_NOT_OURS),
    ...(outer ? inner : []),
    set(R1, to),
    set(R2, INTO_INTERFACE),
    call(HELPER.REDIRECT),
    EXIT,
  ];
}

/** For the entry of the VLAN's own interface. Its frames come from `steerVlan` alone. */
export function untagVlan({ outer }: VlanTags): readonly Buffer[] {
  const pop = [copy(R1, R6), call(HELPER.VLAN_POP), ...must(R0, 0, DROP_FRAME)];
  return [
    copy(R6, R1),
    read(R0, FIELD.TAG_PRESENT),
    ...must(R0, 1, DROP_FRAME),
    read(R7, FIELD.TAG),
    ...pop,
    shiftRight(R7, 12),
    // After the outer tag the kernel has the inner one at hand.
    ...(outer ? [read(R8, FIELD.TAG), ...pop, shiftRight(R8, 12), shiftLeft(R7, 4), orWith(R7, R8)] : []),
    orBits(R7, CAME_TAGGED),
    write(FIELD.PRIORITY, R7),
    set(R0, NEXT),
    EXIT,
  ];
}

/** For the exit of the VLAN's own interface: the frames leave, with the tags, by the interface with the index `to`. */
export function tagVlan({ id, outer }: VlanTags, to: number): readonly Buffer[] {
  const push = (tagId: number, type: number) => [
    shiftLeft(R3, 12),
    orBits(R3, tagId),
    copy(R1, R6),
    set(R2, inNetworkOrder(type)),
    call(HELPER.VLAN_PUSH),
    ...must(R0, 0, DROP_FRAME),
  ];
  return [
    copy(R6, R1),
    read(R7, FIELD.PRIORITY),
    copy(R0, R7),
    mask(R0, ~0xff),
    ifEqual(R0, CAME_TAGGED, 2),
    // A frame of this machine's own has no priority.
    set(R7, 0),
    skip(2),
    set(R0, 0),
    write(FIELD.PRIORITY, R0),
    copy(R3, R7),
    mask(R3, 0xf),
    ...push(id, TAG_TYPES["802.1Q"]),
    ...(outer ? [copy(R3, R7), mask(R3, 0xff), shiftRight(R3, 4), ...push(outer.id, TAG_TYPES[outer.type])] : []),
    set(R1, to),
    set(R2, 0),
    call(HELPER.REDIRECT),
    EXIT,
  ];
}
