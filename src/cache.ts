/** Things that are kept until their time is over, and no more of them than fit: the least recently used go. */
export interface Kept<Thing> {
  /** `now` in ms since the epoch. */
  find(name: string, now: number): Thing | undefined;
  /** `until` in ms since the epoch; `weight` is what it takes of the limit. */
  keep(name: string, thing: Thing, until: number, weight?: number): void;
  /** Forgets all; answers how many there were. */
  flush(): number;
  readonly size: number;
  /** Finds that found something, and those that did not. */
  readonly hits: number;
  readonly misses: number;
}

/** `limit` is of the sum of all weights; each is 1 unless told otherwise. */
export function createKept<Thing>(limit: number): Kept<Thing> {
  const kept = new Map<string, { readonly thing: Thing; readonly until: number; readonly weight: number }>();
  let total = 0;
  let hits = 0;
  let misses = 0;

  const drop = (name: string) => {
    total -= kept.get(name)?.weight ?? 0;
    kept.delete(name);
  };
  return {
    find(name, now) {
      const found = kept.get(name);
      if (!found || found.until <= now) {
        drop(name);
        misses += 1;
        return undefined;
      }
      hits += 1;
      kept.delete(name);
      kept.set(name, found);
      return found.thing;
    },
    keep(name, thing, until, weight = 1) {
      drop(name);
      kept.set(name, { thing, until, weight });
      total += weight;
      while (total > limit) drop(kept.keys().next().value!);
    },
    flush() {
      const { size } = kept;
      kept.clear();
      total = 0;
      return size;
    },
    get size() {
      return kept.size;
    },
    get hits() {
      return hits;
    },
    get misses() {
      return misses;
    },
  };
}
