import { createCache } from "../../cache.ts";
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
  const cache = createCache<Minted>({ entries: limit });
  return {
    take: (name, wanted, now) =>
      cache.take(`${name} ${wanted.authority} ${wanted.keyType}`, now, async () => ({
        value: await ask(wanted),
        until: now + FRESH,
      })),
    flush: cache.flush,
    get size() {
      return cache.size;
    },
    get hits() {
      return cache.hits;
    },
    get misses() {
      return cache.misses;
    },
  };
}
