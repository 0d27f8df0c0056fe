import { isGrease } from "./grease.ts";
import { Reader } from "./reader.ts";

/**
 * The lists of two-byte values in hellos. Clients repeat themselves, so the same bytes give the same list, without GREASE values (RFC
 * 8701), and the same values the same list: what is derived from a list can be found by it. Peers choose how many lists there are, and how
 * long: old ones are forgotten, and long ones are not remembered.
 */

const [MOST, LONGEST] = [500, 512];

const byBytes = new Map<string, readonly number[]>();
const byValues = new Map<string, readonly number[]>();
const texts = new WeakMap<readonly number[], string>();

/** Reads a whole list. Throws PeerError, which says that `what` cannot be read. */
export function readList(bytes: Buffer, what: string): readonly number[] {
  if (bytes.length > LONGEST) return withoutGrease(bytes, what);
  const key = bytes.toString("latin1");
  const known = byBytes.get(key);
  if (known) return known;
  const list = sameList(withoutGrease(bytes, what));
  remember(byBytes, key, list);
  return list;
}

function withoutGrease(bytes: Buffer, what: string): readonly number[] {
  return new Reader(bytes, what).u16s().filter((value) => !isGrease(value));
}

/** The list that stands for all with these values, in this order. */
export function sameList(list: readonly number[]): readonly number[] {
  if (list.length > LONGEST / 2) return list;
  const text = list.join("-");
  const known = byValues.get(text);
  if (known) return known;
  texts.set(list, text);
  remember(byValues, text, list);
  return list;
}

/** The values in decimal, with "-" between them. */
export function textOf(list: readonly number[]): string {
  return texts.get(list) ?? list.join("-");
}

function remember(lists: Map<string, readonly number[]>, key: string, list: readonly number[]): void {
  if (lists.size === MOST) lists.clear();
  lists.set(key, list);
}
