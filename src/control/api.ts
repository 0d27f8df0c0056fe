/** The shapes of the REST API under /api/v1: types only. The CLI and the console know nothing else of the node. */

import type { Counters } from "../sessions/counters.ts";
import type { Session } from "../sessions/session.ts";
import type { KeyType } from "../vocabulary.ts";

export type { Counters, ListenerCounters } from "../sessions/counters.ts";
export type {
  CertificateRecord,
  LegRecord,
  PresentedRecord,
  RevocationRecord,
  Session,
} from "../sessions/session.ts";
export type { Endpoint, KeyType } from "../vocabulary.ts";

/** Any answer that is not 2xx. `path` is the part of the request, or of the configuration, that is wrong. */
export interface ApiError {
  readonly error: string;
  readonly path?: string;
  /** When there are several. */
  readonly errors?: readonly { readonly error: string; readonly path: string }[];
}

/** GET /health: needs no token, so that anything may watch it. */
export interface Health {
  readonly status: "ok";
  readonly version: string;
  /** Whether the store that nodes share can be used; absent: this node shares nothing. "alone" is no fault of the node's. */
  readonly store?: "connected" | "alone";
}

/** GET /sessions */
export interface SessionList {
  /** Newest first; live sessions before closed ones. */
  readonly sessions: readonly Session[];
  /** More match than `limit`. */
  readonly more: boolean;
}

/** GET /fleet/sessions: this node first, then every other one that has given a sign of life within 15 s. */
export interface FleetSessions {
  readonly nodes: readonly (SessionList & {
    readonly name: string;
    /** When it started, in ms since the epoch. */
    readonly since: number;
    /** false: it did not answer in time; its sessions are not known. */
    readonly answered: boolean;
  })[];
}

/** The store that nodes share. */
export interface StoreInfo {
  readonly state: "connected" | "alone";
  /** Why this node goes on alone. */
  readonly reason?: string | undefined;
  /** Questions that were not answered, or not in time. */
  readonly failures: number;
}

/** GET /stats. Times in ms since the epoch, sizes in bytes. */
export interface Statistics {
  readonly workers: readonly WorkerInfo[];
  readonly listeners: readonly ListenerInfo[];
  readonly mint: MintInfo;
  readonly feeds: readonly FeedInfo[];
  readonly tools: readonly ToolInfo[];
  /** What the kernel did for the inline listeners; empty when there are none. */
  readonly kernel: readonly KernelCount[];
  /** Absent: this node shares nothing. */
  readonly store?: StoreInfo | undefined;
}

export interface KernelCount {
  readonly listener: string;
  /** "row": new connections that a rule or list of the network phase decided. "accepted", "refused", "unserved": SYNs handed to a worker, answered with a RST, met by no worker. "quic": UDP 443 refused. */
  readonly counts: string;
  /** The rule or list, for a row. */
  readonly name?: string | undefined;
  readonly packets: number;
  readonly bytes: number;
}

export interface Stats extends Statistics {
  readonly version: string;
  readonly startedAt: number;
  readonly sessions: { readonly live: number };
  readonly counters: Counters;
  readonly history: HistoryInfo;
}

export interface WorkerInfo {
  readonly id: number;
  readonly pid: number;
  readonly startedAt: number;
  /** How often this worker has been started again. */
  readonly restarts: number;
  readonly sessions: number;
  readonly memory?: number;
  /** Seconds of CPU time used. */
  readonly cpu?: number;
}

export interface ListenerInfo {
  readonly name: string;
  readonly mode: string;
  readonly address: string;
}

export interface MintInfo {
  readonly minted: number;
  readonly hits: number;
  readonly size: number;
}

export interface FeedInfo {
  readonly name: string;
  readonly kind: string;
  readonly state: "running" | "stopped";
  /** Why it stopped. */
  readonly reason?: string | undefined;
  readonly sessions: number;
  readonly packets: number;
  readonly bytes: number;
  /** Packets left out because the feed was stopped, or somebody that reads it was far behind. */
  readonly dropped: number;
}

/** An inline tool. */
export interface ToolInfo {
  readonly name: string;
  readonly kind: "inline" | "proxy";
  /** "down": it has failed, and `onFailure` holds. */
  readonly state: "up" | "down";
  /** ms since the epoch. */
  readonly since: number;
  /** What its last failure was. */
  readonly reason?: string | undefined;
  readonly onFailure: "bypass" | "drop";
  /** That pass it now. */
  readonly sessions: number;
  /** Connections and packets that came back and belonged to no live session: dropped. */
  readonly strangers: number;
}

export interface HistoryInfo {
  readonly state: "running" | "stopped";
  /** Why it stopped. */
  readonly reason?: string | undefined;
  readonly sessions: number;
}

/** GET or POST /explain: "what would happen to…?" Everything that is left out is not known. */
export interface ExplainQuery {
  readonly host?: string | undefined;
  /** An address. */
  readonly client?: string | undefined;
  /** "10.0.0.5:443" */
  readonly server?: string | undefined;
  readonly listener?: string | undefined;
  /** The server's certificate; the first of the file, when there are several. */
  readonly certificatePem?: string | undefined;
}

export interface Verdict {
  readonly action: "decrypt" | "bypass" | "drop";
  readonly phase: "network" | "sni" | "certificate";
  readonly rule: string;
  readonly reason: string;
  readonly provisional: boolean;
}

/** One line of the order in which the policy is evaluated. */
export interface PolicyEntry {
  readonly phase: "network" | "sni" | "certificate";
  /** "drop rules", "bypass list", "decrypt list", "bypass rules", "decrypt rules", "issuer rules", "default"… */
  readonly group: string;
  readonly name: string;
  readonly action: string;
}

export interface ExplainedEntry extends PolicyEntry {
  /** Whether it applies; "unknown" when a fact it needs was not given. */
  readonly truth: boolean | "unknown";
}

export interface Explanation {
  readonly entries: readonly ExplainedEntry[];
  readonly verdict: Verdict;
}

/** GET /policy */
export interface PolicyOrder {
  readonly order: readonly PolicyEntry[];
}

export type AuthorityRole = "primary" | "secondary";

/** GET /ca. Times in ms since the epoch. */
export interface AuthorityInfo {
  readonly role: AuthorityRole;
  readonly keyType: KeyType;
  readonly subject: string;
  readonly serial: string;
  readonly sha256: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** "made": by the node itself. "given": by the configuration. */
  readonly origin: "made" | "given";
}

/** GET /keys: the certificates and keys of inbound servers; never the keys themselves. */
export interface KeyInfo {
  readonly id: string;
  readonly hosts: readonly string[];
  /** "ecdsa", "rsa", "ed25519" */
  readonly keyType: string;
  /** The certificate's; null: it is still to come. */
  readonly sha256: string | null;
  /** ms since the epoch; null: the certificate is still to come. */
  readonly notAfter: number | null;
  /** "configuration": written in the file. "added": by `clearline keys`. */
  readonly origin: "configuration" | "added";
  /** "waiting": the key was made here and its certificate is still to come. */
  readonly state: "valid" | "expires soon" | "expired" | "not yet valid" | "waiting";
}

/** POST /keys: certificate and key, or pkcs12; or a certificate whose key the node holds already. */
export interface NewKey {
  /** Absent: those that the certificate names. */
  readonly hosts?: readonly string[] | undefined;
  /** PEM, the leaf first. */
  readonly certificate?: string | undefined;
  /** PEM. */
  readonly key?: string | undefined;
  /** Base64. */
  readonly pkcs12?: string | undefined;
  /** Under which the key, or the PKCS#12 file, is encrypted. */
  readonly passphrase?: string | undefined;
}

/** POST /keys/generate */
export interface NewKeyRequest {
  readonly hosts: readonly string[];
  readonly keyType: "ecdsa" | "rsa" | "ed25519";
  /** The key signs its certificate itself, for so many days. Absent: a CA will. */
  readonly selfSignedDays?: number | undefined;
}

export interface GeneratedKey {
  readonly key: KeyInfo;
  /** PKCS#10 in PEM, for the CA; null: the certificate is self-signed. */
  readonly request: string | null;
}

/** GET /caches */
export interface CacheInfo {
  readonly name: string;
  readonly size: number;
  readonly limit: number;
  readonly hits: number;
  readonly misses: number;
}

/** POST /reload */
export interface Reloaded {
  /** One sentence each; empty when nothing has changed. */
  readonly changes: readonly string[];
}

/** An event of GET /events: "sessions", at most four times a second. */
export interface SessionEvents {
  /** Opened or changed since the last event, in their latest form. */
  readonly live: readonly Session[];
  readonly closed: readonly Session[];
  /** Changes were left out because this client reads too slowly: fetch the list again. */
  readonly dropped: number;
}
