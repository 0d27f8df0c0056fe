import type { History } from "../control/history.ts";
import type { Plan } from "../kernel/listener/lane.ts";
import type { Authorities } from "../pki/issue/authority.ts";
import type { Mint } from "../pki/issue/mint.ts";
import type { KeyFolder } from "../pki/keys/key-folder.ts";
import type { KeyReader } from "../pki/keys/key-source.ts";
import type { KnownServers } from "../policy/known-servers.ts";
import type { Applied, LiveTable } from "../sessions/table.ts";
import type { Watch } from "../tools/heartbeat.ts";
import type { ReturnsDirectory } from "../tools/returns.ts";
import type { ActiveConfig } from "./active-config.ts";
import type { Counts } from "./counts.ts";
import type { Sharing } from "./sharing.ts";
import type { Workers } from "./workers.ts";

/**
 * The node's one process that is not a worker: it owns the CA keys, the live table, the history and the API, starts the
 * workers and watches them, and reloads the configuration. It reads no byte of anyone's session.
 */
export interface NodeState {
  active: ActiveConfig;
  /** In the data folder that the node was started with, whatever the file says since. */
  readonly keyFolder: KeyFolder;
  readonly keyReader: KeyReader;
  readonly authorities: Authorities;
  readonly mint: Mint;
  readonly sessions: LiveTable;
  readonly history: History;
  /** What the kernel was told of for the inline listeners. */
  inline: Plan | undefined;
  readonly workers: Workers;
  readonly demanding: KnownServers;
  readonly sharing: Sharing;
  /** Whose connections come back from proxy tools. */
  readonly returns: ReturnsDirectory;
  readonly startedAt: number;
  /** The health of the inline tools. */
  watch: Watch;
  /** What the workers have counted since the node started. */
  readonly counts: Counts;
  readonly subscribers: Set<(applied: Applied) => void>;
  /** The reload under way, or the last one. Never rejects. */
  reloading: Promise<unknown>;
}
