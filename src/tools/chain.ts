import { NetworkError } from "../errors.ts";
import { isOwnShortage } from "./own-shortage.ts";
import type { Hop, Tool, ToolSettings, ToolSubject } from "./tool.ts";

/** How far a session has come through its tools: the states of Ta and Tb (docs/glossary.md). */
export type Progress = "SYN_SENT:INIT" | "SYN_SENT:SYN_RCV" | "EST:EST" | "INIT:INIT";

/** The connections of a session through its tools. */
export interface Chain {
  readonly kind: "ready";
  /** In the order in which the client's bytes pass them. */
  readonly hops: readonly Hop[];
  readonly passed: readonly ToolOutcome[];
  /** Closes the connections that are still open, when the session is over or did not begin. */
  release(): void;
}

export interface ToolOutcome {
  readonly name: string;
  /** "bypassed": the tool had failed, and its `onFailure` lets sessions go on without it. */
  readonly state: "connected" | "bypassed";
}

/** A tool whose `onFailure` is `drop` has failed. */
export interface ChainFailure {
  readonly kind: "failed";
  /** The error's code; "ETOOL": the tool was known to have failed. */
  readonly code: string;
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

/** The sessions that pass each tool of a worker, and the tools that have failed. It outlives reloads. */
export interface ToolTraffic {
  /** Tools that have failed, and why. */
  readonly failed: ReadonlyMap<string, string>;
  enter(name: string, hop: Hop): void;
  /** Resolves as `entering` does, unless the tool fails first: then it rejects with NetworkError, and a hop that still comes is closed. */
  whileUp(name: string, entering: Promise<Hop>): Promise<Hop>;
  /** The tool's health has changed. The sessions that pass or wait for a failed tool are ended. `reason`: one sentence. */
  setHealth(name: string, up: boolean, reason: string): void;
  /** Sessions that pass the tool now. */
  sessions(name: string): number;
}

export function createToolTraffic(failedAtFirst: readonly (readonly [name: string, reason: string])[]): ToolTraffic {
  const failed = new Map(failedAtFirst);
  const passing = new Map<string, Set<Hop>>();
  const waiting = new Map<string, Set<(error: NetworkError) => void>>();
  return {
    failed,
    whileUp(name, entering) {
      const { promise, resolve, reject } = Promise.withResolvers<Hop>();
      const gaveUp = (error: NetworkError) => {
        reject(error);
        entering.then(leave, () => {});
      };
      const those = waiting.get(name) ?? new Set();
      waiting.set(name, those.add(gaveUp));
      const settled = () => those.delete(gaveUp);
      entering.then(resolve, reject).finally(settled);
      return promise;
    },
    enter(name, hop) {
      const live = passing.get(name) ?? new Set();
      passing.set(name, live.add(hop));
      hop.ta.onceClosed(() => live.delete(hop));
    },
    setHealth(name, up, reason) {
      if (up) {
        failed.delete(name);
        return;
      }
      failed.set(name, reason);
      const error = new NetworkError(reason, "ETOOL");
      for (const { ta } of passing.get(name) ?? []) ta.reset(error);
      for (const giveUp of waiting.get(name) ?? []) giveUp(error);
      waiting.delete(name);
    },
    sessions: (name) => passing.get(name)?.size ?? 0,
  };
}

/** Most sessions' way: one for all of them, which holds nothing of theirs. */
const NO_TOOLS: Chain = { kind: "ready", hops: [], passed: [], release() {} };

export interface ChainTool extends ToolSettings {
  readonly open: Tool;
  /** The tool reads no other protocol; undefined: it reads all. */
  readonly alpn?: string | undefined;
}

/** Called when a session could not be connected through a tool: the tool's health counts it. */
type OnFailed = (name: string, reason: string) => void;

export function createChains(tools: readonly ChainTool[], traffic: ToolTraffic, onFailed: OnFailed): ToolStage {
  return {
    async connect(subject, wanted, onProgress) {
      const chosen = choose(tools, subject, wanted);
      if (chosen.length === 0) return NO_TOOLS;
      onProgress("SYN_SENT:INIT");
      let missing = chosen.length;
      const onReturn = () => {
        missing -= 1;
        if (missing === 0) onProgress("SYN_SENT:SYN_RCV");
      };
      const entries = chosen.map((tool) => enter(tool, subject, { traffic, onFailed, onReturn }));
      const chain = chainOf(chosen, await Promise.allSettled(entries), onReturn);
      if (chain.kind === "failed") return chain;
      if (chain.hops.length === 0) onProgress("INIT:INIT");
      else
        void Promise.all(chain.hops.map(({ tb }) => tb)).then(
          () => onProgress("EST:EST"),
          () => {},
        );
      return chain;
    },
    onlyAlpn(wanted) {
      const limits = ({ name, flows, alpn }: ChainTool) =>
        alpn !== undefined && flows.includes("decrypted") && (wanted?.includes(name) ?? true);
      return tools.find(limits)?.alpn;
    },
  };
}

/** Connects a session through one tool. Throws NetworkError. */
async function enter(
  { name, open }: ChainTool,
  subject: ToolSubject,
  on: { readonly traffic: ToolTraffic; readonly onFailed: OnFailed; readonly onReturn: () => void },
): Promise<Hop> {
  const { traffic, onFailed, onReturn } = on;
  const reason = traffic.failed.get(name);
  if (reason !== undefined) throw new NetworkError(reason, "ETOOL");
  let awaited = true;
  const returned = () => {
    if (awaited) onReturn();
    awaited = false;
  };
  try {
    const hop = await traffic.whileUp(name, open.connect(subject, returned));
    traffic.enter(name, hop);
    // The relay handles a rejection too. Until it does, one must not end the process.
    hop.tb.then(returned, (error: unknown) => {
      // A tool that takes a session and never gives it back has failed. One that ends the session may have a reason to.
      if (error instanceof NetworkError && error.code === "ETIMEDOUT") onFailed(name, error.message);
    });
    return hop;
  } catch (error) {
    // What the node has been told of already is no further failure.
    const isNews = error instanceof NetworkError && error.code !== "ETOOL" && !isOwnShortage(error);
    if (isNews) onFailed(name, error.message);
    throw error;
  }
}

/** Puts the chain together. `onBypass` is called for each tool that is left out. Throws what is not a NetworkError. */
function chainOf(
  tools: readonly ChainTool[],
  entered: readonly PromiseSettledResult<Hop>[],
  onBypass: () => void,
): Chain | ChainFailure {
  const hops = entered.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  const release = () => {
    for (const hop of hops) leave(hop);
  };
  const passed: ToolOutcome[] = [];
  for (const [index, outcome] of entered.entries()) {
    const { name, onFailure } = tools[index]!;
    if (outcome.status === "fulfilled") {
      passed.push({ name, state: "connected" });
      continue;
    }
    const error: unknown = outcome.reason;
    if (!(error instanceof NetworkError) || onFailure === "drop") {
      release();
      if (error instanceof NetworkError)
        return { kind: "failed", code: error.code, reason: `Dropped: ${error.message}` };
      throw error;
    }
    passed.push({ name, state: "bypassed" });
    onBypass();
  }
  return { kind: "ready", hops, passed, release };
}

/** The tools of the rule's list in its order, or all; without those that do not take this class of flow. */
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

/** Closes connections that no relay has taken over: the client left while its tools were being connected. */
function leave({ ta, tb }: Hop): void {
  ta.close();
  void tb.then(
    (back) => back.close(),
    () => {},
  );
}
