import type { Arrival, BegunWith } from "../capture/arrival.ts";
import type { Meter } from "../engine/relay.ts";
import type { TlsDetails } from "../feeds/feed.ts";
import type { FeedStage } from "../feeds/taps.ts";
import type { LegStage } from "../legs/stage.ts";
import type { PkiStage } from "../pki/stage.ts";
import type { Policy } from "../policy/evaluate.ts";
import type { Verdict } from "../policy/facts.ts";
import type { Ending } from "../sessions/outcome.ts";
import type { LegAlerts } from "../sessions/record.ts";
import type { SessionUpdate } from "../sessions/session.ts";
import type { CaStage } from "../streams/ca-stage.ts";
import type { PageStage } from "../streams/page-stage.ts";
import type { RequestStage } from "../streams/request-stage.ts";
import type { StreamStage } from "../streams/stage.ts";
import type { UpgradeStage } from "../streams/upgrade-stage.ts";
import type { ToolStage } from "../tools/chain.ts";
import type { Endpoint } from "../vocabulary.ts";

/**
 * The stages that a session passes, as `flow.ts` uses them: types only. Each folder builds its own stage, and
 * `worker/compose.ts` makes a node of them for each configuration. A session keeps the node that it began with.
 */
export interface Node {
  readonly sessions: SessionStage;
  readonly turns: TurnStage;
  readonly overload: OverloadStage;
  readonly streams: StreamStage;
  readonly policy: Policy;
  readonly reach: ReachStage;
  readonly servers: ServerMemories;
  readonly requests: RequestStage;
  readonly upgrades: UpgradeStage;
  readonly legs: LegStage;
  readonly pki: PkiStage;
  readonly ca: CaStage;
  /** Undefined: refused clients get alerts and resets. */
  readonly pages: PageStage | undefined;
  readonly tools: ToolStage;
  readonly feeds: FeedStage;
}

/** Whose turn it is: no client's handshakes keep those of others waiting. */
export interface TurnStage {
  /** Resolves when this client may begin a handshake, with what ends its turn. Throws NetworkError when that takes too long. */
  take(client: string): Promise<() => void>;
}

/** Whether the node has the means to decrypt one more session. */
export interface OverloadStage {
  /** Why this new session should not be decrypted; undefined: it may be. `waited`: it was judged before, and waited for its turn. */
  judge(waited: boolean): string | undefined;
  /** Policy agreed. */
  count(action: "bypass" | "drop"): void;
}

export interface SessionStage {
  open(arrival: Arrival): SessionHandle;
}

/** One session's record, as the story writes it. */
export interface SessionHandle {
  readonly id: string;
  readonly client: Endpoint;
  readonly meter: Meter;
  /** The rule, list or built-in that has decided so far; null: none has. */
  readonly rule: string | null;
  note(news: SessionUpdate): void;
  /** What only a log of TLS metadata has; `news` is asked where there is one. */
  noteDetails(news: () => TlsDetails): void;
  close(reason: string, alerts: LegAlerts, ending: Ending | undefined): void;
  /** Logs a bug of ours that ended the session, without the bytes that the session carried. */
  reportBug(error: unknown): void;
  /** Warns the operator: this client began with a header of the PROXY protocol, which its listener does not expect. */
  warnOfProxyHeader(header: BegunWith): void;
  /** Warns the operator: this server offered TLS in an earlier session and no longer does. */
  warnOfWithdrawnTls(protocol: string, server: Endpoint): void;
}

/** The addresses that no session may connect to, whatever the rules say. */
export interface ReachStage {
  /** `host`: the name or address that the client asked for. Undefined: the session may connect there. */
  refuse(listener: string, host: string, to: Endpoint): Promise<Verdict | undefined>;
}

/** What earlier sessions learnt about servers. All workers share it. */
export interface ServerMemories {
  /** Servers that demand a client certificate, which only the client has. */
  readonly demandingCertificate: ServerMemory;
  /** The same, of servers that ask for one and go on without: they are learnt only where policy wants that. */
  readonly askingCertificate: ServerMemory;
  /** Servers at which clients bind their log-in to the TLS channel. */
  readonly bindingLogin: ServerMemory;
  /** Servers that hold a certificate for the host that a bypass is for: `policy.verifyBypass`. */
  readonly verified: ServerMemory;
  /** Whether this client is known to refuse the node's certificates for a host, and policy wants that learnt. */
  refusesCertificate(client: string, host: string, port: number): boolean;
  /** Servers that offered STARTTLS. */
  readonly offeringTls: ServerMemory;
}

/** Remembers servers by name, address and port, for a limited time. */
export interface ServerMemory {
  has(server: string): boolean;
  learn(server: string): void;
}
