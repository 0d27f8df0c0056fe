import { Cache } from "../cache.ts";

/**
 * Servers with a property that the node found out and remembers for a time: that they demand a client certificate, or that
 * they offer TLS. Bounded, because the names come from clients; the least recently used goes. Times in ms since the epoch.
 */
export interface KnownServers {
  has(server: string, now: number): boolean;
  learn(server: string, until: number): void;
  entries(): readonly (readonly [server: string, until: number])[];
  flush(): number;
  readonly size: number;
}

/** Names have at most 253 characters: room for 10,000 of them. */
const MOST_BYTES = 8 * 2 ** 20;

export function createKnownServers(limit: number): KnownServers {
  const known = new Cache<string>({ entries: limit, bytes: MOST_BYTES, sizeOf: (server) => server.length });
  return {
    has: (server, now) => known.find(server, now) !== undefined,
    learn: (server, until) => known.keep(server, server, until),
    entries: () => known.entries(),
    flush: () => known.flush(),
    get size() {
      return known.size;
    },
  };
}
