import { NetworkError } from "../errors.ts";
import { isOwnShortage } from "./own-shortage.ts";
import type { Hop, Tool, ToolSettings, ToolSubject } from "./tool.ts";

/** How far a session's way through its tools got: the last two of its four TCP ends. */
export type Progress = "SYN_SENT:INIT" | "SYN_SENT:SYN_RCV" | "EST:EST" | "INIT:INIT";

/** A session's way through its tools. */
export interface Chain {
  readonly kind: "ready";
  /** In the order in which the client's bytes pass them. */
  readonly hops: readonly Hop[];
  /** What became of each of the session's tools. */
  readonly passed: readonly ToolOutcome[];
  /** The session is over, or was never begun: whatever is still open is closed. */
  release(): void;
}

export interface ToolOutcome {
  readonly name: string;
  /** "bypassed": the tool had failed, and its `onFailure` lets sessions go on without it. */
  readonly state: "connected" | "bypassed";
}

/** A tool that must not be left out has failed. */
export interface ChainFailure {
  readonly kind: "failed";
  readonly reason: string;
}

/** The inline tools, as a session passes them. */
export interface ToolStage {
  /**
   * Connects a session through its tools, all at the same time. `wanted`: the rule's own list, in its order; undefined: all
   * that take this class of flow, as configured.
   */
  connect(
    subject: ToolSubject,
    wanted: readonly string[] | undefined,
    onProgress: (progress: Progress) => void,
  ): Promise<Chain | ChainFailure>;
  /** The only protocol that the tools of a decrypted session can read, as ALPN names it; undefined: they read all. */
  onlyAlpn(wanted: readonly string[] | undefined): string | undefined;
}

/** What passes the tools of a worker, whatever the configuration that its sessions began with. */
export interface ToolTraffic {
  /** Tools that have failed, and why. */
  readonly failed: ReadonlyMap<string, string>;
  enter(name: string, hop: Hop): void;
  /** What the health says. Sessions that pass a tool that has failed are ended. `reason` in one sentence. */
  setHealth(name: string, up: boolean, reason: string): void;
  /** Sessions that pass the tool now. */
  sessions(name: string): number;
}

export function createToolTraffic(failedAtFirst: readonly (readonly [name: string, reason: string])[]): ToolTraffic {
  const failed = new Map(failedAtFirst);
  const passing = new Map<string, Set<Hop>>();
  return {
    failed,
    enter(name, hop) {
      const live = passing.get(name) ?? new Set();
      passing.set(name, live.add(hop));
      hop.ta.once("close", () => live.delete(hop));
    },
    setHealth(name, up, reason) {
      if (up) {
        failed.delete(name);
        return;
      }
      failed.set(name, reason);
      for (const { ta } of passing.get(name) ?? []) ta.destroy(new NetworkError(reason, "ETOOL"));
    },
    sessions: (name) => passing.get(name)?.size ?? 0,
  };
}

export interface ChainTool extends ToolSettings {
  readonly open: Tool;
  /** The tool reads no other protocol; undefined: it reads all. */
  readonly alpn?: string | undefined;
}

/** `onFailed`: a session could not be connected through a tool, which its health is told. */
export function createChains(
  tools: readonly ChainTool[],
  traffic: ToolTraffic,
  onFailed: (name: string, reason: string) => void,
): ToolStage {
  async function enter({ name, open }: ChainTool, subject: ToolSubject, onReturn: () => void): Promise<Hop> {
    const reason = traffic.failed.get(name);
    if (reason !== undefined) throw new NetworkError(reason, "ETOOL");
    let awaited = true;
    const returned = () => {
      if (awaited) onReturn();
      awaited = false;
    };
    try {
      const hop = await open.connect(subject, returned);
      traffic.enter(name, hop);
      // Whoever relays hears of a failure too; until somebody does it must not bring the process down.
      hop.tb.then(returned, (error: unknown) => {
        // One that takes sessions and sends none back has failed; one that ends them may have its reasons.
        if (error instanceof NetworkError && error.code === "ETIMEDOUT") onFailed(name, error.message);
      });
      return hop;
    } catch (error) {
      if (error instanceof NetworkError && !isOwnShortage(error)) onFailed(name, error.message);
      throw error;
    }
  }

  return {
    async connect(subject, wanted, onProgress) {
      const chosen = choose(tools, subject, wanted);
      if (chosen.length === 0) return { kind: "ready", hops: [], passed: [], release() {} };
      onProgress("SYN_SENT:INIT");
      let missing = chosen.length;
      const onReturn = () => {
        missing -= 1;
        if (missing === 0) onProgress("SYN_SENT:SYN_RCV");
      };
      const outcomes = await Promise.allSettled(chosen.map((tool) => enter(tool, subject, onReturn)));
      const hops = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      const release = () => {
        for (const hop of hops) leave(hop);
      };
      const passed: ToolOutcome[] = [];
      for (const [index, outcome] of outcomes.entries()) {
        const { name, onFailure } = chosen[index]!;
        if (outcome.status === "fulfilled") {
          passed.push({ name, state: "connected" });
          continue;
        }
        const error: unknown = outcome.reason;
        if (!(error instanceof NetworkError) || onFailure === "drop") {
          release();
          if (error instanceof NetworkError) return { kind: "failed", reason: `Dropped: ${error.message}` };
          throw error;
        }
        passed.push({ name, state: "bypassed" });
        onReturn();
      }
      if (hops.length === 0) onProgress("INIT:INIT");
      else
        void Promise.all(hops.map(({ tb }) => tb)).then(
          () => onProgress("EST:EST"),
          () => {},
        );
      return { kind: "ready", hops, passed, release };
    },
    onlyAlpn(wanted) {
      const limits = ({ name, flows, alpn }: ChainTool) =>
        alpn !== undefined && flows.includes("decrypted") && (wanted?.includes(name) ?? true);
      return tools.find(limits)?.alpn;
    },
  };
}

/** A rule's own list is kept in its order; a tool that does not take this class of flow is left out of it all the same. */
function choose(
  tools: readonly ChainTool[],
  { flow }: ToolSubject,
  wanted: readonly string[] | undefined,
): ChainTool[] {
  const listed =
    wanted === undefined
      ? tools
      : wanted.flatMap((name) => {
          const tool = tools.find((one) => one.name === name);
          return tool ? [tool] : [];
        });
  return listed.filter(({ flows }) => flows.includes(flow));
}

/** Ends what no relay has ended: a session whose client went away while its tools were connected. */
function leave({ ta, tb }: Hop): void {
  if (!ta.destroyed) ta.destroy();
  void tb.then(
    (socket) => {
      if (!socket.destroyed) socket.destroy();
    },
    () => {},
  );
}
