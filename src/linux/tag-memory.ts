import { NetworkError } from "../errors.ts";
import { takesProgram, withMap } from "./bpf.ts";
import {
  add,
  call,
  copy,
  copyBytes,
  END_IF_NOT_OURS,
  FIELD,
  HELPER,
  ifDiffers,
  ifEqual,
  inNetworkOrder,
  mapInto,
  mask,
  must,
  networkOrder16,
  orBits,
  R0,
  R1,
  R2,
  R3,
  R4,
  R6,
  R7,
  R8,
  R9,
  R10,
  read,
  read8,
  read16,
  read32,
  set,
  shiftLeft,
  shiftRight,
  skip,
  store8,
  store32From,
  store64,
  write,
} from "./frame-instructions.ts";
import { CAME_TAGGED, TAG_TYPES } from "./vlan-programs.ts";

/**
 * The priority of a connection's tags (IEEE 802.1Q: PCP and DEI) on both sides of the node. What the node sends is its own and has no tag:
 * `noteTags`, at the entry of both sides' interfaces, keeps the last tag of each direction of a TCP connection, and `restoreTags`, at their
 * exits, gives it to the node's packets of that direction.
 */

/** "priority": tags without a VLAN (VLAN 0), and the node's packets are known by their marks. "vlan": the tags that `untagVlan` took off. */
export type TagKind = { readonly kind: "vlan" } | { readonly kind: "priority"; readonly markShift: number };

/** Two addresses, two ports, the family. */
const KEY_SIZE = 40;
/** Further connections push out those that are silent for longest. */
export const TAG_MAP = { key: KEY_SIZE, value: 4, entries: 32_768 } as const;

/** Where on the stack the parts of a packet's key are; and what is read beside it, and the value. */
const KEY = -KEY_SIZE;
const PORTS = KEY + 32;
const FAMILY = KEY + 36;
const SEEN = KEY - 16;
const VALUE = KEY - 24;

const GO_ON = END_IF_NOT_OURS;
const TCP = 6;
/** The lengths of an Ethernet header and an IPv6 header. */
const [ETHERNET, IPV6] = [14, 40];

export function noteTags(tags: TagKind, map: number): readonly Buffer[] {
  const ofPriority = [
    read(R0, FIELD.TAG_PRESENT),
    ...must(R0, 1, GO_ON),
    read(R0, FIELD.TAG_TYPE),
    ...must(R0, inNetworkOrder(TAG_TYPES["802.1Q"]), GO_ON),
    read(R7, FIELD.TAG),
    copy(R0, R7),
    mask(R0, 0xfff),
    ...must(R0, 0, GO_ON),
    shiftRight(R7, 12),
  ];
  const ofVlan = [
    read(R7, FIELD.PRIORITY),
    copy(R0, R7),
    mask(R0, ~0xff),
    ...must(R0, CAME_TAGGED, GO_ON),
    mask(R7, 0xff),
  ];
  return [
    copy(R6, R1),
    ...(tags.kind === "priority" ? ofPriority : ofVlan),
    ...findConnection(map),
    ifEqual(R0, 0, 1 + GO_ON.length),
    store32From(R0, 0, R7),
    ...GO_ON,
    // The node's packets in a VLAN have priority 0 anyway.
    ...(tags.kind === "vlan" ? [ifDiffers(R7, 0, GO_ON.length), ...GO_ON] : []),
    store32From(R10, VALUE, R7),
    ...mapInto(R1, map),
    copy(R2, R10),
    add(R2, KEY),
    copy(R3, R10),
    add(R3, VALUE),
    set(R4, 0),
    call(HELPER.MAP_UPDATE),
    ...GO_ON,
  ];
}

export function restoreTags(tags: TagKind, map: number): readonly Buffer[] {
  const found = [...findConnection(map), ifDiffers(R0, 0, GO_ON.length), ...GO_ON];
  if (tags.kind === "vlan") {
    return [
      copy(R6, R1),
      read(R0, FIELD.PRIORITY),
      mask(R0, ~0xff),
      // What crosses the node has its tags by it.
      ifDiffers(R0, CAME_TAGGED, GO_ON.length),
      ...GO_ON,
      ...found,
      read32(R7, R0, 0),
      orBits(R7, CAME_TAGGED),
      write(FIELD.PRIORITY, R7),
      ...GO_ON,
    ];
  }
  return [
    copy(R6, R1),
    // The node's packets, and those that it passes on, have the highest codes: kernel/listener/marks.ts.
    read(R0, FIELD.MARK),
    shiftRight(R0, tags.markShift),
    mask(R0, 0xc0),
    ...must(R0, 0xc0, GO_ON),
    read(R0, FIELD.TAG_PRESENT),
    ...must(R0, 0, GO_ON),
    ...found,
    read32(R3, R0, 0),
    shiftLeft(R3, 12),
    copy(R1, R6),
    set(R2, inNetworkOrder(TAG_TYPES["802.1Q"])),
    call(HELPER.VLAN_PUSH),
    ...GO_ON,
  ];
}

/** Whether this kernel takes these programs, and lets this process load them. */
export function canKeepTags(): boolean {
  try {
    const kind = { kind: "priority", markShift: 0 } as const;
    return withMap(TAG_MAP, (map) => [noteTags(kind, map), restoreTags(kind, map)].every(takesProgram));
  } catch (error) {
    if (error instanceof NetworkError) return false;
    throw error;
  }
}

/** R0 points to what the map has of the TCP connection that the packet belongs to, in its direction; 0: it has nothing. */
function findConnection(map: number): readonly Buffer[] {
  const ofV6 = [
    set(R2, ETHERNET + 6),
    ...copyBytes(SEEN, 1),
    read8(R0, R10, SEEN),
    ...must(R0, TCP, GO_ON),
    set(R2, ETHERNET + 8),
    ...copyBytes(KEY, 32),
    set(R9, ETHERNET + IPV6),
    store8(R10, FAMILY, 6),
  ];
  const ofV4 = [
    ...must(R8, inNetworkOrder(0x0800), GO_ON),
    set(R2, ETHERNET),
    ...copyBytes(SEEN, 12),
    read8(R0, R10, SEEN + 9),
    ...must(R0, TCP, GO_ON),
    // Only the first fragment has the ports.
    read16(R0, R10, SEEN + 6),
    networkOrder16(R0),
    mask(R0, 0x1fff),
    ...must(R0, 0, GO_ON),
    read8(R9, R10, SEEN),
    mask(R9, 0xf),
    shiftLeft(R9, 2),
    add(R9, ETHERNET),
    set(R2, ETHERNET + 12),
    ...copyBytes(KEY, 8),
    store8(R10, FAMILY, 4),
    skip(ofV6.length),
  ];
  return [
    ...[0, 8, 16, 24, 32].map((at) => store64(R10, KEY + at, 0)),
    read(R8, FIELD.PROTOCOL),
    ifEqual(R8, inNetworkOrder(0x86dd), ofV4.length),
    ...ofV4,
    ...ofV6,
    copy(R2, R9),
    ...copyBytes(PORTS, 4),
    ...mapInto(R1, map),
    copy(R2, R10),
    add(R2, KEY),
    call(HELPER.MAP_LOOKUP),
  ];
}
