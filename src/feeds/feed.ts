import type { FlowClass } from "../vocabulary.ts";
/** What a feed is told of a session. */
export interface FeedSession {
  readonly id: string;
  /** The client's and the server's own addresses; ports included. IPv4 or IPv6 literals. */
  readonly client: { readonly address: string; readonly port: number };
  readonly server: { readonly address: string; readonly port: number };
  /** The session's host name, for the comment that names the session. */
  readonly host: string | undefined;
  readonly flow: FlowClass;
  /** The rule, list or built-in that decided; undefined: none did. */
  readonly rule: string | undefined;
  /** The suite, version and ALPN, or what else one line may say of the session. */
  readonly description: string;
}

/** One session's place in a feed. Calls after `close` do nothing. */
export interface FeedFlow {
  /** Plaintext that went from this side to the other. The bytes are copied or written before this returns. */
  data(from: "client" | "server", bytes: Uint8Array): void;
  /** This side half-closed. */
  end(from: "client" | "server"): void;
  /** This side reset the connection: both directions are over. */
  reset(from: "client" | "server"): void;
  /** The session is over, however it ended. */
  close(): void;
}

export interface FeedCounters {
  readonly name: string;
  readonly kind: string;
  readonly state: "running" | "stopped";
  /** Why it stopped: "No space left on device". */
  readonly reason: string | undefined;
  readonly sessions: number;
  /** What reached the place: packets, and the bytes of them with all that the format adds. */
  readonly packets: number;
  readonly bytes: number;
  /** Packets left out because the feed was stopped, or somebody that reads it was far behind. */
  readonly dropped: number;
}

/** Which sessions a feed is for. */
export interface FeedFilter {
  readonly flows: readonly FlowClass[];
  /** Names of rules, lists and built-ins that decide; undefined: any, and none. */
  readonly rules?: readonly string[] | undefined;
}

/** A copy of the plaintext for tools beside the path. A feed that fails stops itself, never the sessions. */
export interface Feed {
  readonly name: string;
  /** The file, address or interface that this session's copy is found at now; undefined while the feed is stopped. */
  readonly place: string | undefined;
  /** Whether this session is one of those that the feed is for. */
  wants(session: Pick<FeedSession, "flow" | "rule">): boolean;
  open(session: FeedSession, now: number): FeedFlow;
  /** Only a feed of keys has it: takes one line of the NSS key log format, with its end, from a leg's handshake. */
  takeKey?(line: Buffer): void;
  /** Resolves when the feed can take more: the relay waits for it. Undefined: it can take more now. */
  pressure(): Promise<void> | undefined;
  counters(): FeedCounters;
  close(): Promise<void>;
}
