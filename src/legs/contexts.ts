import { Cache } from "../cache.ts";
import { Context, type ContextOptions, type ServerContextOptions } from "../engine/contexts.ts";
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

/** Every option counts. A certificate stands for its key too, which so stays out of the table of texts. */
function keyOf(options: ContextOptions): string {
  let key = "";
  let name: keyof ContextOptions;
  for (name in options) key += `${name} ${partOf(options[name])} `;
  // The cache would hash a key of this length.
  return String(numberOf(key));
}

function partOf(
  value: string | number | boolean | undefined | Uint8Array | readonly (string | Identity)[],
): string | number {
  if (typeof value === "string") return numberOf(value);
  if (value instanceof Uint8Array) return numberOfObject(value);
  if (typeof value !== "object") return String(value);
  return value.map((one) => numberOf(typeof one === "string" ? one : one.certificatePem)).join(",");
}

type Identity = ServerContextOptions["identities"][number];

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
