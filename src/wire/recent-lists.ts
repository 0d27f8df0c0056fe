import { RecentAnswers } from "../recent-answers.ts";
import { isGrease } from "./grease.ts";
import { Reader } from "./reader.ts";

/**
 * The lists of two-byte values in hellos. Clients repeat themselves, so the same bytes give the same list, without GREASE values (RFC
 * 8701), and the same values the same list: what is derived from a list can be found by it. Peers choose how many lists there are, and how
 * long: old ones are forgotten, and long ones are not remembered.
 */

/** Bytes of a list that is remembered. */
const LONGEST = 512;

const byBytes = new RecentAnswers<readonly number[]>();
const byValues = new RecentAnswers<readonly number[]>();
const texts = new WeakMap<readonly number[], string>();

/** Reads a whole list. Throws PeerError, which says that `what` cannot be read. */
export function readList(bytes: Buffer, what: string): readonly number[] {
  if (bytes.length > LONGEST) return withoutGrease(bytes, what);
  return byBytes.take(bytes.toString("latin1"), () => sameList(withoutGrease(bytes, what)));
}

function withoutGrease(bytes: Buffer, what: string): readonly number[] {
  return new Reader(bytes, what).u16s().filter((value) => !isGrease(value));
}

/** The list that stands for all with these values, in this order. */
export function sameList(list: readonly number[]): readonly number[] {
  if (list.length > LONGEST / 2) return list;
  const text = list.join("-");
  return byValues.take(text, () => {
    texts.set(list, text);
    return list;
  });
}

/** The values in decimal, with "-" between them. */
export function textOf(list: readonly number[]): string {
  return texts.get(list) ?? list.join("-");
}
