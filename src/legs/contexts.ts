import { Cache } from "../cache.ts";
import { Context, type ContextOptions } from "../engine/contexts.ts";
import { numberOf, numberOfObject } from "./text-numbers.ts";

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
      const key = keyOf(options);
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

/** Certificates and ticket keys are told apart as objects: whoever asks again has the same ones. */
function keyOf(options: ContextOptions): string {
  const { role, minVersion, maxVersion, ciphers, groups, tickets, sessions, keyLog } = options;
  const common = [minVersion, maxVersion, numberOf(ciphers), groups === undefined ? "" : numberOf(groups)];
  const flags = `${+tickets}${+sessions}${+keyLog}`;
  if (options.role === "client") {
    const { sigalgs, alpn } = options;
    const offered = [sigalgs === undefined ? "" : numberOf(sigalgs), numberOf(JSON.stringify(alpn))];
    return [role, ...common, flags, ...offered].join(" ");
  }
  const { identities, ticketKey, sessionTimeout } = options;
  const own = [...identities.map(numberOfObject), ticketKey ? numberOfObject(ticketKey) : "", sessionTimeout];
  return [role, ...common, flags, ...own].join(" ");
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
