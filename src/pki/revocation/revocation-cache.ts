import { Cache } from "../../cache.ts";
import type { RevocationList } from "./crl.ts";
import { createFailures, type Failures } from "./failures.ts";
import type { CertificateStatus, ChainStatus, KeptStaple } from "./revocation-answer.ts";

/** A worker's knowledge of revocation. It outlives a reload. */
export interface RevocationCache {
  /** By the SHA-256 of the server's certificate. */
  readonly chains: Cache<ChainStatus>;
  /** By certificate. */
  readonly certificates: Cache<CertificateStatus>;
  /** By URL and issuer. */
  readonly lists: Cache<RevocationList>;
  /** Certificates of issuers, in DER, by the URL that they were fetched from. */
  readonly issuers: Cache<readonly Buffer[]>;
  /** What the node staples to certificates of its own keys, by their SHA-256. */
  readonly staples: Cache<KeptStaple>;
  /** Sources that could not be used the last time. */
  readonly failures: Failures;
  /** Sessions whose chain was in the cache, and those whose was not. */
  hits: number;
  misses: number;
  readonly size: number;
  flush(): number;
}

/** Bytes of all lists with their indexes. */
const MAX_LISTS = 96 * 2 ** 20;
const MAX_ISSUERS = 2 * 2 ** 20;
const MAX_STAPLES = 8 * 2 ** 20;
const MAX_STATUSES = 8 * 2 ** 20;
/** A status without its reason, in bytes. */
const STATUS_BYTES = 200;

/** `limit`: the most certificates. */
export function createRevocationCache(limit: number): RevocationCache {
  const chains = new Cache<ChainStatus>({ entries: limit, bytes: MAX_STATUSES, sizeOf: sizeOfStatus });
  const certificates = new Cache<CertificateStatus>({ entries: limit, bytes: MAX_STATUSES, sizeOf: sizeOfStatus });
  const lists = new Cache<RevocationList>({ entries: limit, bytes: MAX_LISTS, sizeOf: ({ bytes }) => bytes });
  const issuers = new Cache<readonly Buffer[]>({ entries: limit, bytes: MAX_ISSUERS, sizeOf: sizeOfIssuers });
  const staples = new Cache<KeptStaple>({ entries: limit, bytes: MAX_STAPLES, sizeOf: sizeOfStaple });
  const failures = createFailures();
  return {
    ...{ chains, certificates, lists, issuers, staples, failures, hits: 0, misses: 0 },
    get size() {
      return certificates.size;
    },
    flush() {
      chains.flush();
      lists.flush();
      issuers.flush();
      staples.flush();
      failures.flush();
      return certificates.flush();
    },
  };
}

function sizeOfIssuers(ders: readonly Buffer[]): number {
  return ders.reduce((sum, { length }) => sum + length, 0);
}

function sizeOfStaple({ bytes, issuer }: KeptStaple): number {
  return bytes.length + issuer.length;
}

function sizeOfStatus({ reason }: CertificateStatus): number {
  return STATUS_BYTES + (reason?.length ?? 0);
}
