import type { Endpoint, FlowClass, Side } from "../vocabulary.ts";

/** The facts about a session that a feed uses. */
export interface FeedSession {
  readonly id: string;
  /** The client's and the server's own addresses, not the node's. */
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** The host name, for the comment that names the session. */
  readonly host: string | undefined;
  readonly flow: FlowClass;
  /** The rule, list or built-in step that decided; undefined: none did. */
  readonly rule: string | undefined;
  /** One line that describes the session: version, suite and ALPN, for example. */
  readonly description: string;
}

/** One session in a feed. Calls after `close` do nothing. */
export interface FeedFlow {
  /** Plaintext that this side sent. The bytes are copied or written before this returns. */
  data(from: Side, bytes: Uint8Array): void;
  /** This side half-closed. `isCut`: in a way that makes it unsure whether what it said is whole, such as without close_notify. */
  end(from: Side, isCut: boolean): void;
  /** This side reset the connection: both directions are over. */
  reset(from: Side): void;
  /** The session is over, in whatever way it ended. */
  close(): void;
}

export interface FeedCounters {
  readonly name: string;
  readonly kind: string;
  readonly state: "running" | "stopped";
  /** Why the feed is stopped: "no space left on device (ENOSPC)". */
  readonly reason: string | undefined;
  readonly sessions: number;
  /** Packets that reached the place, and their bytes with everything that the format adds. */
  readonly packets: number;
  readonly bytes: number;
  /** Packets that were left out because the feed was stopped or a reader was too slow. */
  readonly dropped: number;
}

/** One leg of a session, as its record has it. */
interface TlsLeg {
  readonly version?: string;
  /** By IANA's names. */
  readonly suite?: string;
  readonly group?: string;
  readonly alpn?: string | null;
  readonly resumed?: boolean;
  readonly alertReceived?: string;
  readonly alertSent?: string;
  readonly received: number;
  readonly sent: number;
}

interface TlsCertificate {
  readonly subject: string;
  readonly issuer: string;
  readonly names: readonly string[];
  readonly sha256: string;
  readonly sha1?: string;
  readonly serial?: string;
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  readonly faults: readonly { readonly fault: string; readonly code: string }[];
  readonly revocation?: { readonly status: string };
}

/** The record of a TLS session, as far as a log of TLS metadata has it. Times in ms since the epoch. */
export interface TlsSession {
  readonly id: string;
  readonly listener: string;
  /** "10"; "100/10": VLAN 10 in the outer tag 100; null: no tag. */
  readonly vlan: string | null;
  readonly client: Endpoint;
  readonly server: Endpoint | null;
  /** How a session that began in plaintext came to TLS. */
  readonly startTls: { readonly protocol: string } | null;
  readonly communityId: string | null;
  readonly protocol: string | null;
  readonly sni: string | null;
  readonly ja3: string | null;
  readonly ja4: string | null;
  readonly deployment: string | null;
  readonly certificate: TlsCertificate | null;
  readonly presented: { readonly authority: string; readonly serial: string; readonly sha256: string } | null;
  readonly verdict: string | null;
  readonly phase: string | null;
  readonly rule: string | null;
  readonly reason: string | null;
  readonly clientLeg: TlsLeg;
  readonly serverLeg: TlsLeg;
  readonly start: number;
  readonly end: number | null;
  readonly closeReason: string | null;
  readonly outcome: string;
  readonly cause: string | null;
  readonly blame: string | null;
}

/** What the record of a TLS session leaves out, because only a log of TLS metadata has it. */
export interface TlsDetails {
  /** What JA3 and JA3S are the MD5 of. The latter is of the hello with which the server answered the node. */
  readonly ja3Text?: string;
  readonly ja3sText?: string;
  /** The protocols that the client offered by ALPN. */
  readonly clientAlpns?: readonly string[];
}

/** The sessions that a feed takes. */
export interface FeedFilter {
  readonly flows: readonly FlowClass[];
  /** Names of deciding rules, lists and built-in steps; undefined: all sessions, also those that none decided. */
  readonly rules?: readonly string[] | undefined;
}

/** A copy of the plaintext for tools outside the path. A feed that fails stops itself, never the sessions. */
export interface Feed {
  readonly name: string;
  /** The file, address or interface that has the copies now; undefined while the feed is stopped. */
  readonly place: string | undefined;
  /** Whether the feed takes this session. */
  wants(session: Pick<FeedSession, "flow" | "rule">): boolean;
  open(session: FeedSession, now: number): FeedFlow;
  /** Takes one line of the NSS key log format, with its line end. Only a feed of keys has this method. */
  takeKey?(line: Buffer): void;
  /** Takes the record of a TLS session that is over, whatever became of it. Only a log of sessions has this method. */
  takeSession?(session: TlsSession, details: TlsDetails): void;
  /** Resolves when the feed can take more bytes; the relay waits for it. Undefined: it can take more now. */
  pressure(): Promise<void> | undefined;
  counters(): FeedCounters;
  close(): Promise<void>;
}
