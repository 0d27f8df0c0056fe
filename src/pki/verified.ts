import type { FoundFault } from "./verify.ts";

/**
 * Certificates that OpenSSL found good and that were looked at already: busy servers show the same one each time. Bounded: the
 * least recently verified goes. Times in ms since the epoch.
 */
export interface Verified {
  /** What was found, by certificate and host; undefined: it is not known, or no longer fresh. */
  find(name: string, now: number): readonly FoundFault[] | undefined;
  keep(name: string, faults: readonly FoundFault[], now: number): void;
  flush(): number;
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
}

/** For this time, in ms, a certificate is not verified anew. */
const FRESH = 60_000;

export function createVerified(limit: number): Verified {
  const kept = new Map<string, { readonly faults: readonly FoundFault[]; readonly until: number }>();
  let hits = 0;
  let misses = 0;
  return {
    find(name, now) {
      const known = kept.get(name);
      const fresh = known && known.until > now ? known.faults : undefined;
      if (fresh) hits += 1;
      else misses += 1;
      return fresh;
    },
    keep(name, faults, now) {
      kept.delete(name);
      kept.set(name, { faults, until: now + FRESH });
      if (kept.size > limit) kept.delete(kept.keys().next().value!);
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
