import type { OfferedCertificate } from "../page/ca-files.ts";
import type { SessionQuery } from "../sessions/search.ts";
import type { SeriesAnswer, SeriesQuery } from "../sessions/series.ts";
import type { Applied, LiveTable } from "../sessions/table.ts";
import type { KeyType } from "../vocabulary.ts";
import type {
  AddedBypass,
  AuthorityInfo,
  AuthorityRole,
  BypassInfo,
  CacheInfo,
  DoctorReport,
  ExplainQuery,
  Explanation,
  FleetNodes,
  FleetSessions,
  GeneratedKey,
  HealthReport,
  KeyInfo,
  ListInfos,
  LogLine,
  NewKey,
  NewKeyRequest,
  PolicyOrder,
  Preview,
  PreviewRequest,
  Reloaded,
  Session,
  SessionExplanation,
  Statistics,
  Stats,
  SuggestionInfo,
  ViewAsk,
} from "./api.ts";
import type { Audit } from "./audit.ts";
import type { History } from "./history.ts";
import type { Liveness } from "./session-search.ts";

/** What is told as metrics only. */
export interface Figures {
  /** Times in ms, `at` since the epoch. */
  readonly reloads: {
    readonly succeeded: number;
    readonly failed: number;
    readonly last: { readonly succeeded: boolean; readonly at: number; readonly took: number } | undefined;
  };
  /** The limits of the configuration, in sessions. */
  readonly limits: readonly { readonly limit: string; readonly sessions: number }[];
  /** Log lines that were left out, by target. */
  readonly logDropped: readonly { readonly target: string; readonly lines: number }[];
  readonly webhooksLost: number;
}

/**
 * What the API asks the node to do; the supervisor does it. A ConfigError, or an AggregateError of them, is the caller's mistake
 * (400). Any other error is the node's (500).
 */
export interface Operations {
  readonly version: string;
  /** ms since the epoch. */
  readonly startedAt: number;
  readonly sessions: LiveTable;
  readonly history: History;
  readonly audit: Audit;
  /** The last lines of the node's log, numbered. */
  readonly log: { readonly last: number; since(number: number): readonly LogLine[] };
  /** Calls `listener` with each batch of changes to the live table, until the returned function is called. */
  subscribe(listener: (applied: Applied) => void): () => void;
  /** Resets both connections of a live session. false: there is no live session with this ID. */
  endSession(id: string): boolean;
  statistics(): Promise<Statistics>;
  /** What only the metrics tell. */
  figures(): Figures;
  /** What the node did, step by step, in the last 24 hours. */
  series(query: SeriesQuery): SeriesAnswer;
  explain(query: ExplainQuery): Explanation;
  /** What was decided about a session on record, and what the policy of now would decide. */
  explainSession(session: Session): SessionExplanation;
  policyOrder(): PolicyOrder;
  /** The policy's lists. `find`: a host or an address. Throws ConfigError. */
  lists(find: string | undefined): Promise<ListInfos>;
  authorities(): readonly AuthorityInfo[];
  /** The certificate in PEM; undefined when there is no such authority. */
  authorityPem(role: AuthorityRole, keyType: KeyType, stage: AuthorityInfo["stage"]): string | undefined;
  /** The certificates of the primary CAs, present and next, for clients. */
  offeredCertificates(): readonly OfferedCertificate[];
  renewAuthority(role: AuthorityRole): Promise<readonly AuthorityInfo[]>;
  /** Makes the CA that is to follow. Throws ConfigError. */
  makeNextAuthority(role: AuthorityRole): Promise<readonly AuthorityInfo[]>;
  /** From now on the next CA signs. Throws ConfigError. */
  activateAuthority(role: AuthorityRole): Promise<readonly AuthorityInfo[]>;
  /** Destroys the private keys of former CAs, or the next CA. Answers how many keys there were. Throws ConfigError. */
  destroyAuthority(role: AuthorityRole, which: "former" | "next"): Promise<number>;
  keys(): readonly KeyInfo[];
  addKey(key: NewKey): Promise<KeyInfo>;
  /** Makes a key, and a request for its certificate or a self-signed one. */
  generateKey(wanted: NewKeyRequest): Promise<GeneratedKey>;
  /** false: no key has this id. Throws ConfigError for a key of the configuration file. */
  removeKey(id: string): Promise<boolean>;
  caches(): Promise<readonly CacheInfo[]>;
  /** Empties a cache; without a name, all caches. false: no cache has this name. */
  flushCaches(name?: string): Promise<boolean>;
  /** Hosts whose certificates from the node a client refuses again and again, the latest first. */
  suggestions(): readonly SuggestionInfo[];
  /** Judges the sessions on record by a changed policy, beside the node's other work. Throws ConfigErrors. */
  previewPolicy(request: PreviewRequest): Promise<Preview>;
  /** The bypasses with an end that are in force, the newest first. */
  bypasses(): readonly BypassInfo[];
  /** `time` in ms, null: without an end. Throws ConfigError when it cannot be kept; then nothing has changed. */
  addBypass(
    wanted: Pick<BypassInfo, "entry" | "comment" | "author"> & { readonly time: number | null },
  ): Promise<AddedBypass>;
  /** By its ID or its entry. Undefined: there is no such bypass. Throws ConfigError. */
  removeBypass(id: string): Promise<Pick<BypassInfo, "id" | "entry"> | undefined>;
  reload(): Promise<Reloaded>;
  /** Looks at everything that the node needs. `asked`: what it knows of itself. */
  examine(asked: Stats): Promise<DoctorReport["checks"]>;
  /** Whether the node does its work, and why not. */
  health(): Promise<HealthReport>;
  /**
   * The pieces of what the view answers, until `signal` is aborted. Throws ConfigError when the node has no feed of kind http, and an error with statusCode 404 when
   * the view does not hold the session.
   */
  view(ask: ViewAsk, signal: AbortSignal): AsyncGenerator<string | Uint8Array>;
  /** This node, and those that share its store. */
  fleetNodes(): Promise<FleetNodes>;
  /** At most `limit` sessions of each node that shares the store. Throws ConfigError when resumption.shared is not set. */
  fleetSessions(query: SessionQuery, live: Liveness, limit: number): Promise<FleetSessions>;
}
