import { constants } from "node:crypto";
import { createSecureContext, type SecureContext, type SecureContextOptions } from "node:tls";

/**
 * Making a context costs milliseconds and clients repeat themselves, so contexts are kept: the least recently used goes.
 */
export interface ContextCache {
  /** `tickets`: whether session tickets are made (a server's) or taken (a client's). */
  take(options: SecureContextOptions, tickets: boolean): SecureContext;
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
  /** Needed after the trusted roots changed: a context keeps those of its birth. */
  flush(): number;
}

/**
 * Renegotiation is refused on both legs (it lets a peer change what was judged), compression never negotiated (CRIME).
 * Servers without RFC 5746 are accepted as browsers accept them: with renegotiation refused there is nothing to attack on this side.
 */
const OPTIONS =
  constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION | constants.SSL_OP_LEGACY_SERVER_CONNECT;

export function createContextCache(limit: number): ContextCache {
  const kept = new Map<string, SecureContext>();
  let hits = 0;
  let misses = 0;
  return {
    take(options, tickets) {
      const key = JSON.stringify([options, tickets]);
      let context = kept.get(key);
      if (context) {
        hits += 1;
        kept.delete(key);
      } else {
        misses += 1;
        context = createSecureContext({
          ...options,
          secureOptions: tickets ? OPTIONS : OPTIONS | constants.SSL_OP_NO_TICKET,
        });
      }
      kept.set(key, context);
      if (kept.size > limit) kept.delete(kept.keys().next().value!);
      return context;
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
    flush() {
      const size = kept.size;
      kept.clear();
      return size;
    },
  };
}
