import { createKept, type Kept } from "../../cache.ts";
import type { RevocationList } from "./crl.ts";
import type { CertificateStatus, ChainStatus } from "./revocation-answer.ts";

/** What a worker knows of revocation: it outlives a reload. */
export interface RevocationCache {
  /** By a server's certificate: what there is to say of its whole chain. */
  readonly conclusions: Kept<ChainStatus>;
  /** By certificate. */
  readonly told: Kept<CertificateStatus>;
  /** By address and issuer. */
  readonly lists: Kept<RevocationList>;
  /** Why an address was of no use a moment ago. */
  readonly failures: Kept<string>;
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
  const conclusions = createKept<ChainStatus>(limit);
  const told = createKept<CertificateStatus>(limit);
  const lists = createKept<RevocationList>(MOST_LISTS);
  const failures = createKept<string>(MOST_FAILURES);
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
