import { createHealth, type HealthPlan, type HealthState } from "./health.ts";
import { isOwnShortage } from "./own-shortage.ts";

/** How often a tool is asked whether it works. Times in ms. */
export interface HeartbeatPlan extends HealthPlan {
  readonly enabled: boolean;
  /** Between the beginnings of two heartbeats. */
  readonly period: number;
  /** In which one must have come through. */
  readonly timeout: number;
}

export interface WatchedTool {
  readonly name: string;
  readonly heartbeat: HeartbeatPlan;
  /** Sends something of the node's own through the tool. Rejects, with why in one sentence, when it did not come through. */
  readonly probe: (timeout: number) => Promise<void>;
  /** After a failure: brings back what the node owes the tool. Whether there was anything; then it is asked again at once. Never rejects. */
  readonly mend: () => Promise<boolean>;
}

/** The health of all tools, known in one place: the workers are told. */
export interface Watch {
  state(name: string): HealthState | undefined;
  /** A worker could not connect a session through the tool. */
  failed(name: string, reason: string): void;
  close(): void;
}

/** Sends heartbeats through each tool until closed. `onChange` is called when a tool has failed and when it is used again. */
export function watchTools(tools: readonly WatchedTool[], onChange: (name: string, state: HealthState) => void): Watch {
  const watched = new Map(tools.map((tool) => [tool.name, { tool, health: createHealth(tool.heartbeat, Date.now()) }]));
  let closed = false;

  const fail = (name: string, reason: string) => {
    const health = watched.get(name)?.health;
    if (health?.fail(reason, Date.now())) onChange(name, health.state);
  };
  const beat = async ({ name, heartbeat, probe, mend }: WatchedTool) => {
    try {
      await probe(heartbeat.timeout).catch(async (error: unknown) => {
        if (closed || !(await mend())) throw error;
        await probe(heartbeat.timeout);
      });
    } catch (error) {
      if (!closed && !isOwnShortage(error)) fail(name, (error as Error).message);
      return;
    }
    const health = watched.get(name)?.health;
    if (!closed && health?.succeed(Date.now())) onChange(name, health.state);
  };
  const timers = tools.flatMap((tool) => {
    const { heartbeat } = tool;
    if (!heartbeat.enabled) return [];
    let busy = false;
    const next = async () => {
      // One that is slower than the period is still under way: it counts when it is over.
      if (busy) return;
      busy = true;
      await beat(tool);
      busy = false;
    };
    void next();
    return [setInterval(next, heartbeat.period)];
  });
  return {
    state: (name) => watched.get(name)?.health.state,
    // A tool without heartbeats would never be found to work again.
    failed: (name, reason) => {
      if (watched.get(name)?.tool.heartbeat.enabled) fail(name, reason);
    },
    close() {
      closed = true;
      for (const timer of timers) clearInterval(timer);
    },
  };
}
