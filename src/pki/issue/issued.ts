import type { Minted, MintRequest } from "./mint.ts";

/**
 * A worker's own copy of what the supervisor issued, so that a returning server costs no message. One request at a time for
 * one certificate, however many sessions wait for it. Bounded: the least recently used goes.
 */
export interface IssuedCache {
  /** `name`: the original's SHA-256. `now` in ms since the epoch. Throws what asking throws; a failure is not kept. */
  take(name: string, wanted: MintRequest, now: number): Promise<Minted>;
  flush(): number;
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
}

/** ms that a copy is used before the supervisor is asked again, whose cache decides when a certificate is issued anew. */
const FRESH = 600_000;

export function createIssuedCache(limit: number, ask: (wanted: MintRequest) => Promise<Minted>): IssuedCache {
  const kept = new Map<string, { readonly answer: Promise<Minted>; readonly until: number }>();
  let hits = 0;
  let misses = 0;
  return {
    take(name, wanted, now) {
      const key = `${name} ${wanted.authority} ${wanted.keyType}`;
      const found = kept.get(key);
      kept.delete(key);
      if (found && found.until > now) {
        hits += 1;
        kept.set(key, found);
        return found.answer;
      }
      misses += 1;
      const answer = ask(wanted);
      kept.set(key, { answer, until: now + FRESH });
      answer.catch(() => {
        if (kept.get(key)?.answer === answer) kept.delete(key);
      });
      if (kept.size > limit) kept.delete(kept.keys().next().value!);
      return answer;
    },
    flush() {
      const size = kept.size;
      kept.clear();
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
