import { Cache } from "../../cache.ts";
import { namesKey } from "../x509/general-name.ts";
import type { MintRequest } from "./mint.ts";
import { type Minted, sizeOfMinted } from "./minted.ts";

/**
 * A worker's copies of issued certificates: for a server that it has seen, it sends the supervisor no message. Sessions
 * that need the same certificate at the same time share one request.
 */
export interface IssuedCache {
  /** `name`: the original's SHA-256. `now` in ms since the epoch. Throws what `ask` throws; the next call asks again. */
  take(name: string, wanted: MintRequest, now: number): Promise<Minted>;
  flush(): number;
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
}

/** ms that a copy is used. Then the supervisor is asked, whose cache decides when a new certificate is issued. */
const FRESH = 600_000;

/** Room for 4,000 usual certificates. */
const MOST_BYTES = 24 * 2 ** 20;

export function createIssuedCache(limit: number, ask: (wanted: MintRequest) => Promise<Minted>): IssuedCache {
  const cache = new Cache<Minted>({
    entries: limit,
    bytes: MOST_BYTES,
    sizeOf: sizeOfMinted,
  });
  return {
    take: (name, wanted, now) =>
      cache.take(
        `${name} ${wanted.authority} ${wanted.keyType} ${wanted.signer ?? ""} ${wanted.hash ?? ""} ${namesKey(wanted.names)}`,
        now,
        async () => ({
          value: await ask(wanted),
          until: now + FRESH,
        }),
      ),
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
