import { Cache } from "../cache.ts";

/**
 * Sessions with clients by name, bounded in number, bytes and age, because anyone can make many. A client may resume the same one
 * again and again. Times in ms since the epoch.
 */
export interface SessionCache {
  /** Replaces an earlier one. */
  put(name: string, session: Uint8Array, until: number): void;
  /** Undefined when there is none, or none that is still good. */
  find(name: string, now: number): Uint8Array | undefined;
  forget(name: string): void;
  flush(): number;
  readonly size: number;
}

/** The room for one session, in bytes. */
const BYTES = 1_024;

export function createSessionCache(entries: number, bytes: number = entries * BYTES): SessionCache {
  const cache = new Cache<Uint8Array>({ entries, bytes, sizeOf: ({ length }) => length });
  return {
    put: (name, session, until) => cache.keep(name, session, until),
    find: (name, now) => cache.find(name, now),
    forget: (name) => cache.forget(name),
    flush: () => cache.flush(),
    get size() {
      return cache.size;
    },
  };
}
