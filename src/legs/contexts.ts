import { hash } from "node:crypto";
import { Cache } from "../cache.ts";
import { Context, type ContextOptions } from "../engine/contexts.ts";

/** Making a context costs milliseconds, and clients repeat themselves: contexts are kept. */
export interface ContextCache extends Pick<Cache<KeptContext>, "size" | "hits" | "misses" | "flush"> {
  take(options: ContextOptions): Context;
}

/** Room for 2,000 contexts with a usual certificate. */
const MOST_BYTES = 48 * 2 ** 20;
/** What OpenSSL holds of a context (measured): this, and for each byte of PEM about three. */
const [CONTEXT_BYTES, PEM_FACTOR] = [20_000, 3];

export function createContextCache(limit: number): ContextCache {
  const cache = new Cache<KeptContext>({
    ...{ entries: limit, bytes: MOST_BYTES },
    sizeOf: ({ bytes }) => bytes,
    onDropped: ({ context }) => context.release(),
  });
  return {
    take(options) {
      // Keys of certificates are in it: their hash is enough to tell two apart.
      const key = hash("sha256", JSON.stringify(options), "base64url");
      const known = cache.find(key);
      if (known) return known.context;
      const context = new Context(options);
      cache.keep(key, { context, bytes: sizeOf(options) });
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

interface KeptContext {
  readonly context: Context;
  readonly bytes: number;
}

/** A context holds certificates, whose length a server chooses. */
function sizeOf(options: ContextOptions): number {
  const identities = options.role === "server" ? options.identities : [];
  const pem = identities.reduce((sum, { certificatePem, keyPem }) => sum + certificatePem.length + keyPem.length, 0);
  return CONTEXT_BYTES + PEM_FACTOR * pem;
}
