import type { Arrival } from "../capture/arrival.ts";
import type { OpenListener } from "../capture/mode.ts";
import type { Loop } from "../engine/loop.ts";
import type { TrustStore } from "../engine/verify.ts";
import type { Feed } from "../feeds/feed.ts";
import type { Node } from "../flow/stages.ts";
import type { LegMemory } from "../legs/stage.ts";
import type { FromWorker, WorkerSetup } from "../messages.ts";
import type { OfferedCertificate } from "../page/ca-files.ts";
import type { IssuedCache } from "../pki/issue/issued.ts";
import type { RevocationCache } from "../pki/revocation/revocation-cache.ts";
import type { VerifiedCache } from "../pki/verify/judge.ts";
import type { BypassTable } from "../policy/bypass.ts";
import type { KnownServers } from "../policy/known-servers.ts";
import type { TicketKeys } from "../resumption/ticket-keys.ts";
import type { WorkerSessions } from "../resumption/worker-sessions.ts";
import type { Ledger, LiveSession } from "../sessions/ledger.ts";
import type { ToolTraffic } from "../tools/chain.ts";
import type { Returns } from "../tools/returns.ts";
import type { Tool } from "../tools/tool.ts";
import type { Admission } from "./admission.ts";
import type { createFtpChannel } from "./ftp-channel.ts";
import type { ListTables } from "./list-tables.ts";
import type { createMintChannel } from "./mint-channel.ts";
import type { Overload } from "./overload.ts";
import type { Turns } from "./turns.ts";

/** What a worker works with. `setup.ts` changes what a new configuration changes; the rest outlives it. */
export interface WorkerState extends LegMemory {
  readonly loop: Loop;
  /** The roots of the setup in force. */
  trust: TrustStore;
  setup: WorkerSetup;
  /** Carries new sessions; undefined: the first setup has not been applied. */
  node: Node | undefined;
  feeds: readonly Feed[];
  /** By what they were configured with. */
  readonly listeners: Map<string, OpenListener>;
  readonly tools: Map<string, Tool>;
  readonly traffic: ToolTraffic;
  readonly returns: Returns;
  readonly admission: Admission;
  /** Of handshakes. */
  readonly turns: Turns;
  readonly overload: Overload;
  readonly ledger: Ledger;
  /** The sessions of the arrivals that are carried. */
  readonly live: WeakMap<Arrival, LiveSession>;
  readonly listTables: ListTables;
  /** Which sessions are bypassed for a time. */
  readonly bypasses: BypassTable;
  readonly issued: IssuedCache;
  /** The primary CA's certificates, for clients. */
  offered: readonly OfferedCertificate[];
  readonly mint: ReturnType<typeof createMintChannel>;
  readonly ftpChannel: ReturnType<typeof createFtpChannel>;
  readonly verified: VerifiedCache;
  readonly revocation: RevocationCache;
  /** Servers that demand a client certificate, at which clients bind their log-in to the TLS channel, and that offered TLS in plaintext. */
  readonly demanding: KnownServers;
  readonly binding: KnownServers;
  readonly offering: KnownServers;
  /** Clients that refuse the node's certificates, with their hosts. */
  readonly pinning: KnownServers;
  readonly tickets: { keys: TicketKeys; hits: number; misses: number };
  /** Takes the supervisor's answer to a search for a session. */
  readonly settle: WorkerSessions["settle"];
  readonly forgetSession: WorkerSessions["forget"];
  /** How many sessions with servers are kept here. */
  readonly serverSessions: number;
  readonly timers: NodeJS.Timeout[];
  /** Sends the supervisor a message. */
  readonly tell: (message: FromWorker) => Promise<void>;
}
