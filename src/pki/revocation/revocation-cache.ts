import { type Cache, createCache } from "../../cache.ts";
import type { RevocationList } from "./crl.ts";
import type { CertificateStatus, ChainStatus } from "./revocation-answer.ts";

/** What a worker knows of revocation: it outlives a reload. */
export interface RevocationCache {
  /** By a server's certificate: what there is to say of its whole chain. */
  readonly conclusions: Cache<ChainStatus>;
  /** By certificate. */
  readonly told: Cache<CertificateStatus>;
  /** By address and issuer. */
  readonly lists: Cache<RevocationList>;
  /** Why an address was of no use a moment ago. */
  readonly failures: Cache<string>;
  /** Sessions whose answer was known, and for which somebody had to be asked. */
  hits: number;
  misses: number;
  readonly size: number;
  flush(): number;
}

/** Bytes of all lists together, with what they are found by. */
const MOST_LISTS = 96 * 2 ** 20;
const MOST_FAILURES = 1_000;

/** `limit`: certificates. */
export function createRevocationCache(limit: number): RevocationCache {
  const conclusions = createCache<ChainStatus>({ entries: limit });
  const told = createCache<CertificateStatus>({ entries: limit });
  const lists = createCache<RevocationList>({ bytes: MOST_LISTS });
  const failures = createCache<string>({ entries: MOST_FAILURES });
  return {
    ...{ conclusions, told, lists, failures, hits: 0, misses: 0 },
    get size() {
      return told.size;
    },
    flush() {
      conclusions.flush();
      lists.flush();
      failures.flush();
      return told.flush();
    },
  };
}
