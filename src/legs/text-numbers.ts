import { hash } from "node:crypto";

/**
 * Numbers for texts and objects, so that a short key can stand for long ones: clients repeat their offers, and hashing some kilobytes
 * for each session costs as much as the policy.
 */

/** Characters of all remembered texts, room for the certificates of some thousand servers; and of one text. Peers choose both. */
const [MOST, LONGEST] = [8 * 1024 * 1024, 8_192];

/** The least recently used first. */
const texts = new Map<string, number>();
let characters = 0;
const objects = new WeakMap<object, number>();
/** Never used again, so that a key that outlives a text is found by no other. */
let last = 0;

/** The same text has the same number, as long as it is remembered. */
export function numberOf(text: string): number {
  const key = text.length > LONGEST ? hash("sha256", text) : text;
  const known = texts.get(key);
  if (known !== undefined) {
    texts.delete(key);
    texts.set(key, known);
    return known;
  }
  last += 1;
  texts.set(key, last);
  characters += key.length;
  for (const oldest of texts.keys()) {
    if (characters <= MOST) break;
    texts.delete(oldest);
    characters -= oldest.length;
  }
  return last;
}

/** The number of one object, whatever is in it. */
export function numberOfObject(object: object): number {
  const known = objects.get(object);
  if (known !== undefined) return known;
  last += 1;
  objects.set(object, last);
  return last;
}
