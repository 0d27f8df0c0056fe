import type { SessionQuery } from "../sessions/search.ts";
import type { Applied, LiveTable } from "../sessions/table.ts";
import type { KeyType } from "../vocabulary.ts";
import type {
  AuthorityInfo,
  AuthorityRole,
  CacheInfo,
  ExplainQuery,
  Explanation,
  FleetSessions,
  GeneratedKey,
  KeyInfo,
  NewKey,
  NewKeyRequest,
  PolicyEntry,
  Reloaded,
  Statistics,
  StoreInfo,
} from "./api.ts";
import type { History } from "./history.ts";
import type { Liveness } from "./session-search.ts";

/**
 * What the API needs of the node; the supervisor is one. A method that throws a ConfigError, or an AggregateError of
 * them, blames the caller (400); any other error is the node's own (500).
 */
export interface Operations {
  readonly version: string;
  /** ms since the epoch. */
  readonly startedAt: number;
  readonly sessions: LiveTable;
  readonly history: History;
  /** Every batch that was applied to the live table, until the answer is called. */
  subscribe(listener: (applied: Applied) => void): () => void;
  statistics(): Promise<Statistics>;
  explain(query: ExplainQuery): Explanation;
  policyOrder(): readonly PolicyEntry[];
  authorities(): readonly AuthorityInfo[];
  /** The certificate in PEM; undefined when there is no such authority. */
  authorityPem(role: AuthorityRole, keyType: KeyType): string | undefined;
  renewAuthority(role: AuthorityRole): Promise<readonly AuthorityInfo[]>;
  keys(): readonly KeyInfo[];
  addKey(key: NewKey): Promise<KeyInfo>;
  /** Makes a key, and a request for its certificate. */
  generateKey(wanted: NewKeyRequest): Promise<GeneratedKey>;
  /** false: no key has this id. A key of the configuration file is a ConfigError. */
  removeKey(id: string): Promise<boolean>;
  caches(): Promise<readonly CacheInfo[]>;
  /** Without a name: all of them. false: no cache has this name. */
  flushCaches(name?: string): Promise<boolean>;
  reload(): Promise<Reloaded>;
  /** The store that nodes share; undefined: this node shares nothing. */
  store(): StoreInfo | undefined;
  /** The sessions of every node that shares the store, `limit` at most of each. A node that shares nothing is a ConfigError. */
  fleetSessions(query: SessionQuery, live: Liveness, limit: number): Promise<FleetSessions>;
}
