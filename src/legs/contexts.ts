import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";
import { Cache } from "../cache.ts";

/** OpenSSL contexts, cached because making one takes milliseconds and clients repeat themselves. */
export interface ContextCache {
  /** `tickets`: whether session tickets are made (a server's) or taken (a client's). */
  take(options: SecureContextOptions, tickets: boolean): SecureContext;
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
  /** Needed after the trusted roots have changed: a context keeps the roots that it was made with. */
  flush(): number;
}

/**
 * Renegotiation is refused on both legs, because a peer could change what was judged. Compression is never negotiated (CRIME).
 * Servers without RFC 5746 are accepted, as browsers accept them: without renegotiation the attack does not work here.
 */
const OPTIONS =
  constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION | constants.SSL_OP_LEGACY_SERVER_CONNECT;

export function createContextCache(limit: number): ContextCache {
  const cache = new Cache<SecureContext>({ entries: limit });
  return {
    take(options, tickets) {
      const key = JSON.stringify([options, tickets]);
      const known = cache.find(key);
      if (known) return known;
      const secureOptions = tickets ? OPTIONS : OPTIONS | constants.SSL_OP_NO_TICKET;
      const context = createSecureContext({ ...options, secureOptions });
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
