import type { Loaded } from "./config/load.ts";
import type { FeedCounters } from "./feeds/feed.ts";
import type { Plan } from "./kernel/listener/lane.ts";
import type { SharedFtpSession } from "./legs/ftp-sessions.ts";
import type { Capability } from "./linux/capabilities.ts";
import type { LoopDelay } from "./linux/loop-delay.ts";
import type { Account } from "./linux/privileges.ts";
import type { OfferedCertificate } from "./page/ca-files.ts";
import type { MintRequest } from "./pki/issue/mint.ts";
import type { Minted } from "./pki/issue/minted.ts";
import type { InboundKey } from "./pki/keys/inbound-key.ts";
import type { Bypass } from "./policy/bypass.ts";
import type { ReachSource } from "./policy/reach.ts";
import type { PolicySource } from "./policy/rule.ts";
import type { TicketKeys } from "./resumption/ticket-keys.ts";
import type { SessionChange } from "./sessions/table.ts";
import type { ReturnsFromWorker, ReturnsToWorker } from "./tools/returns.ts";
import type { LimitName, Load, OverloadLevel } from "./vocabulary.ts";

/** The messages between the supervisor and a worker. Workers parse hostile bytes, so no message carries a CA key. */

/** What a worker gets when it starts and at each reload. Except for its feeds, the compiled lists and a record of its calls, it opens no file. */
export interface WorkerSetup {
  /** The ports, queues and marks of the inline listeners, as the kernel has them. Undefined: there is none. */
  readonly inline: Pick<Plan, "listeners" | "marks"> | undefined;
  readonly worker: number;
  readonly workers: number;
  readonly capacity: Capacity;
  readonly config: Loaded["config"];
  /** Without its lists. */
  readonly policy: Omit<PolicySource, "lists">;
  /** The files of the compiled lists, which the worker maps: they may have half a million entries. */
  readonly lists: { readonly bypass: readonly string[]; readonly decrypt: readonly string[] };
  /** The bypasses with an end that are in force when the worker starts; later ones come by message. */
  readonly bypasses: readonly Bypass[];
  /** What the listeners' clients may reach, and the node's own places, which no session reaches. */
  readonly reach: ReachSource & { readonly places: readonly { readonly host: string; readonly port: number }[] };
  /** The primary CA's certificates, present and next, which clients may download. */
  readonly offered: readonly OfferedCertificate[];
  /** The text of policy.page.template. */
  readonly pageTemplate: string | undefined;
  /** The inbound keys, already read: to read thousands here would keep live sessions waiting. */
  readonly keys: readonly InboundKey[];
  /** PEM, one certificate each. */
  readonly roots: readonly string[];
  /** Servers known to demand a client certificate, and until when (ms since the epoch). */
  readonly demanding: readonly (readonly [server: string, until: number])[];
  /** Clients and hosts whose certificates they refuse, alike. */
  readonly binding: readonly (readonly [server: string, until: number])[];
  readonly pinning: readonly (readonly [server: string, until: number])[];
  /** Tools that are down, with the reason. */
  readonly failedTools: readonly (readonly [name: string, reason: string])[];
  readonly resumption: ResumptionSetup;
  /** Who the worker becomes with its first setup, before it reads a byte of a session. Undefined: it stays who it is. */
  readonly user: WorkerUser | undefined;
}

export interface WorkerUser extends Account {
  /** All that a worker of this user may do beyond other users. */
  readonly capabilities: readonly Capability[];
  /** The network namespaces that it makes sockets in. */
  readonly namespaces: readonly string[];
}

export interface ResumptionSetup {
  /** Seals the sessions that may be resumed. A secret, like the ticket keys. */
  readonly secret: Uint8Array;
  /** A hash of the policy and the trusted roots. A session that began under another one is not resumed. */
  readonly generation: string;
  readonly ticketKeys: TicketKeys;
}

export type ToWorker =
  | { readonly kind: "setup"; readonly setup: WorkerSetup }
  | { readonly kind: "minted"; readonly request: number; readonly minted: Minted }
  | { readonly kind: "mint failed"; readonly request: number; readonly message: string }
  | { readonly kind: "demanding" | "binding" | "offering" | "pinning"; readonly server: string; readonly until: number }
  | { readonly kind: "bypasses"; readonly bypasses: readonly Bypass[] }
  | DeliverFtpSession
  | FtpSessionAnswer
  | { readonly kind: "session"; readonly request: number; readonly sealed: Uint8Array | undefined }
  | ForgetSession
  | { readonly kind: "ticket keys"; readonly ticketKeys: TicketKeys }
  | { readonly kind: "tool"; readonly name: string; readonly up: boolean; readonly reason: string }
  /** The part of its memory that the whole node uses. */
  | { readonly kind: "node memory"; readonly part: number }
  | { readonly kind: "offered"; readonly certificates: readonly OfferedCertificate[] }
  | { readonly kind: "flush"; readonly cache: CacheName | undefined }
  /** An operator wants this session to end. */
  | { readonly kind: "end session"; readonly id: string }
  | ReturnsToWorker
  | { readonly kind: "stop" };

export type FromWorker = WorkerHealth | SessionNews;

/** About the worker process itself. */
export type WorkerHealth =
  /** The setup is applied and the worker listens. */
  | { readonly kind: "ready" }
  /** The setup cannot be applied. One line for the user, and the path in the configuration. */
  | { readonly kind: "failed"; readonly path: string; readonly message: string }
  | { readonly kind: "status"; readonly status: WorkerStatus };

/** About sessions. */
export type SessionNews =
  | { readonly kind: "sessions"; readonly changes: readonly SessionChange[] }
  | { readonly kind: "mint"; readonly request: number; readonly wanted: MintRequest }
  | { readonly kind: "demanding" | "binding" | "offering"; readonly server: string; readonly until: number }
  | { readonly kind: "find session"; readonly request: number; readonly name: string }
  /** `until` in ms since the epoch. */
  | {
      readonly kind: "put session";
      readonly name: string;
      readonly sealed: Uint8Array;
      readonly until: number;
    }
  | ForgetSession
  | ShareFtpSession
  /** What this worker shared under this number has been taken. */
  | { readonly kind: "ftp session taken"; readonly worker: number; readonly request: number }
  /** A session could not be connected through a tool. */
  | { readonly kind: "tool failed"; readonly name: string; readonly reason: string }
  | ReturnsFromWorker;

/** A connection of this session ended with a fatal alert, so the session must not be resumed. */
interface ForgetSession {
  readonly kind: "forget session";
  readonly name: string;
}

/** A server gave a session on a control connection of FTP, for the data connections at all workers. */
interface ShareFtpSession {
  readonly kind: "ftp session";
  readonly request: number;
  readonly shared: SharedFtpSession;
}

/** `worker`: who shared it, and waits for the answers. */
interface DeliverFtpSession extends ShareFtpSession {
  readonly worker: number;
}

/** About a session that the worker shared: to how many others it was sent, and, once for each, that it was taken. */
export type FtpSessionAnswer =
  | { readonly kind: "ftp session sent"; readonly request: number; readonly workers: number }
  | { readonly kind: "ftp session taken"; readonly request: number };

export type CacheName =
  | "issued"
  | "contexts"
  | "demanding"
  | "binding"
  | "pinning"
  | "verified"
  | "revocation"
  | "sessions"
  | "server-sessions"
  | "tickets"
  | "dns";

/** For each limit that was met, the connections that were refused, and the sessions that were ended for others. */
export type TurnedAway = readonly {
  readonly limit: LimitName;
  readonly refused: number;
  readonly evicted: number;
}[];

/** The sessions that each worker may have at one time, and what bounds them. */
export interface Capacity {
  readonly sessions: number;
  readonly bound: LimitName;
}

/** How far a worker is from each threshold of `overload`. */
export interface OverloadReport {
  readonly level: OverloadLevel;
  /** Those with a threshold. In ms, in parts of 1, and sessions a second. */
  readonly measures: readonly {
    readonly load: Load;
    readonly value: number;
    readonly threshold: number;
    readonly level: OverloadLevel;
  }[];
  /** New sessions that were not decrypted for it, since the worker began. */
  readonly bypassed: number;
  readonly dropped: number;
}

/** A worker's report, once a second. */
export interface WorkerStatus {
  readonly sessions: number;
  readonly turnedAway: TurnedAway;
  readonly overload: OverloadReport;
  /** Resident memory in bytes, CPU in seconds. */
  readonly memory: number;
  /** Bytes of JavaScript's heap in use, and what libuv's loop waits for: the sessions' connections are the engine's. */
  readonly heap: number;
  readonly handles: number;
  readonly cpu: number;
  /** Undefined: it has only begun. */
  readonly delay: LoopDelay | undefined;
  /** What the engine holds now: its ends, SSLs, SSL_CTXs, and pairs of connections that have not sent all. */
  readonly engine: {
    readonly ends: number;
    readonly connections: number;
    readonly contexts: number;
    readonly writePairs: number;
  };
  /** Look-ups of names that found a failure that was kept, since the worker began; and those that wait now. */
  readonly dns: { readonly negative: number; readonly waiting: number };
  readonly feeds: readonly FeedCounters[];
  /** For each tool, its live sessions, and the connections that came back from it without belonging to one. */
  readonly tools: readonly { readonly name: string; readonly sessions: number; readonly strangers: number }[];
  readonly caches: readonly {
    readonly name: CacheName;
    readonly size: number;
    readonly limit: number;
    readonly hits: number;
    readonly misses: number;
  }[];
}
