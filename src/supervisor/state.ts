import type { Audit } from "../control/audit.ts";
import type { History } from "../control/history.ts";
import type { Loop } from "../engine/loop.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import type { Standing } from "../kernel/standing.ts";
import type { LoopDelayMeter } from "../linux/loop-delay.ts";
import type { WorkerUser } from "../messages.ts";
import type { Authorities } from "../pki/issue/authority.ts";
import type { Mint } from "../pki/issue/mint.ts";
import type { KeyFolder } from "../pki/keys/key-folder.ts";
import type { KeyReader } from "../pki/keys/key-source.ts";
import type { HitCounts } from "../policy/hits.ts";
import type { KnownServers } from "../policy/known-servers.ts";
import type { Refusals } from "../policy/refusals.ts";
import type { Applied, LiveTable } from "../sessions/table.ts";
import type { Watch } from "../tools/heartbeat.ts";
import type { ReturnsDirectory } from "../tools/returns.ts";
import type { ActiveConfig } from "./active-config.ts";
import type { BypassKeeper } from "./bypasses.ts";
import type { Resources } from "./capacity.ts";
import type { Counts } from "./counts.ts";
import type { HealthChanges } from "./health-changes.ts";
import type { HttpView } from "./http-view.ts";
import type { ListFiles } from "./list-files.ts";
import type { LiveRecord } from "./live-record.ts";
import type { LogTargets } from "./log/targets.ts";
import type { Series } from "./series.ts";
import type { Sharing } from "./sharing.ts";
import type { ClockWatch, LimitWatch } from "./watches.ts";
import type { Webhooks } from "./webhooks.ts";
import type { Workers } from "./workers.ts";

/**
 * The state of the supervisor: the one process that owns the CA keys, the live table, the history and the API, starts and watches the
 * workers, and reloads the configuration. It reads no byte of any session.
 */
export interface NodeState {
  active: ActiveConfig;
  /** In the data folder that the node started with: a reload does not move it. */
  readonly keyFolder: KeyFolder;
  readonly keyReader: KeyReader;
  readonly listFiles: ListFiles;
  /** The bypasses with an end. */
  readonly bypasses: BypassKeeper;
  readonly authorities: Authorities;
  /** Called when other CAs sign: the API may show a certificate of theirs. */
  renewed: () => Promise<unknown>;
  /** Where the API listens. null: it does not yet. */
  api: string | null;
  readonly mint: Mint;
  readonly sessions: LiveTable;
  /** The sessions that each entry of the policy decided lately. */
  readonly hits: HitCounts;
  readonly history: History;
  readonly audit: Audit;
  /** What the node did in each step of the last day. */
  readonly series: Series;
  /** Which live sessions go on record, and when. */
  readonly liveRecord: LiveRecord;
  /** The rules, routes and marks that the kernel has for the inline listeners. Undefined: there is none. */
  inline: Plan | undefined;
  readonly workers: Workers;
  /** The process of the feed of kind http, if there is one. */
  readonly httpView: HttpView;
  /** Who the workers are. Undefined: the supervisor's own user. */
  readonly workerUser: WorkerUser | undefined;
  readonly demanding: KnownServers;
  /** What clients refuse, and what policy.learn has made of it. */
  readonly refusals: Refusals;
  readonly pinning: KnownServers;
  /** Servers at which clients bind their log-in to the TLS channel. */
  readonly binding: KnownServers;
  readonly sharing: Sharing;
  /** For connections of the node's own: heartbeats through tools, and looks whether a port is free. */
  readonly loop: Loop;
  /** Finds the session of a connection that comes back from a proxy tool. */
  readonly returns: ReturnsDirectory;
  readonly startedAt: number;
  /** What the machine gave each process at the start. */
  readonly resources: Resources;
  /** The health of the inline tools. */
  watch: Watch;
  /** Of this process. */
  readonly loopDelay: LoopDelayMeter;
  /** Totals of the workers' counters since the node started. */
  readonly counts: Counts;
  /** Where the log goes, as it went when the node started. */
  readonly logTargets: LogTargets;
  /** Each session is logged at its end. */
  readonly logsSessions: boolean;
  /** Whether the kernel is still as the node set it up. */
  readonly standing: Standing;
  /** Who is told of events. */
  readonly webhooks: Webhooks;
  readonly limitWatch: LimitWatch;
  /** When tools and feeds failed and worked again. */
  readonly changes: HealthChanges;
  readonly clock: ClockWatch;
  readonly subscribers: Set<(applied: Applied) => void>;
  /** Reloads of the configuration file. `at` in ms since the epoch, `took` in ms. */
  reloads: {
    readonly succeeded: number;
    readonly failed: number;
    readonly last:
      | {
          readonly succeeded: boolean;
          readonly error: string | undefined;
          readonly at: number;
          readonly took: number;
        }
      | undefined;
  };
  /** Settles when the last reload that was asked for has ended. Never rejects. */
  reloading: Promise<unknown>;
}
