import { hash } from "node:crypto";
import { Cache } from "../cache.ts";
import { Context, type ContextOptions } from "../engine/contexts.ts";

/** Making a context costs milliseconds, and clients repeat themselves: contexts are kept. */
export interface ContextCache extends Pick<Cache<Context>, "size" | "hits" | "misses" | "flush"> {
  take(options: ContextOptions): Context;
}

export function createContextCache(limit: number): ContextCache {
  const cache = new Cache<Context>({ entries: limit, onDropped: (context) => context.release() });
  return {
    take(options) {
      // Keys of certificates are in it: their hash is enough to tell two apart.
      const key = hash("sha256", JSON.stringify(options), "base64url");
      const known = cache.find(key);
      if (known) return known;
      const context = new Context(options);
      cache.keep(key, context);
      return context;
    },
    flush: () => cache.flush(),
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
