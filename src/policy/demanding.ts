import { createCache } from "../cache.ts";

/**
 * Servers that demanded a client certificate, which only the client can show: what is learnt holds for a time. Bounded,
 * because the names come from clients; the least recently used goes. Times in ms since the epoch.
 */
export interface Demanding {
  has(server: string, now: number): boolean;
  learn(server: string, until: number): void;
  entries(): readonly (readonly [server: string, until: number])[];
  flush(): number;
  readonly size: number;
}

export function createDemanding(limit: number): Demanding {
  const known = createCache<true>({ entries: limit });
  return {
    has: (server, now) => known.find(server, now) ?? false,
    learn: (server, until) => known.keep(server, true, until),
    entries: known.entries,
    flush: known.flush,
    get size() {
      return known.size;
    },
  };
}
