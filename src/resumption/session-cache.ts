import { Cache } from "../cache.ts";

/**
 * Sessions with clients by name, bounded in number, bytes and age, because anyone can make many. A client may resume the same one
 * again and again.
 */
export type SessionCache = Cache<Uint8Array>;

/** The room for one session, in bytes. */
const BYTES = 1_024;

export function createSessionCache(entries: number, bytes: number = entries * BYTES): SessionCache {
  return new Cache({ entries, bytes, sizeOf: ({ length }) => length });
}
