import type { OpenListener } from "../capture/mode.ts";
import type { Feed } from "../feeds/feed.ts";
import type { Node } from "../flow/stages.ts";
import type { WorkerSetup } from "../messages.ts";
import type { WorkerSessions } from "../resumption/worker-sessions.ts";
import type { ToolTraffic } from "../tools/chain.ts";
import type { Returns } from "../tools/returns.ts";
import type { Tool } from "../tools/tool.ts";
import type { Lasting } from "./compose.ts";
import type { createMintChannel } from "./mint-channel.ts";

/** What a worker works with. What a configuration changes of it, `worker-setup.ts` changes. */
export interface WorkerState extends Lasting {
  setup: WorkerSetup;
  /** What carries new sessions; undefined: the first setup has not been applied. */
  node: Node | undefined;
  feeds: readonly Feed[];
  /** By what they were configured with. */
  readonly listeners: Map<string, OpenListener>;
  readonly tools: Map<string, Tool>;
  readonly traffic: ToolTraffic;
  readonly returns: Returns;
  readonly mint: ReturnType<typeof createMintChannel>;
  /** The supervisor's answer to a search for a session. */
  readonly settle: WorkerSessions["settle"];
  readonly forgetSession: WorkerSessions["forget"];
  /** How many sessions with servers are kept here. */
  readonly serverSessions: number;
  readonly timers: NodeJS.Timeout[];
}
