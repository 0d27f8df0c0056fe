import { createHealth, type HealthPlan, type HealthState } from "./health.ts";
import { isOwnShortage } from "./own-shortage.ts";

/** When heartbeats are sent through a tool. Times in ms. */
export interface HeartbeatPlan extends HealthPlan {
  readonly enabled: boolean;
  /** From the start of one heartbeat to the start of the next. */
  readonly period: number;
  /** For one heartbeat to come through. */
  readonly timeout: number;
}

export interface WatchedTool {
  readonly name: string;
  readonly heartbeat: HeartbeatPlan;
  /** Sends a heartbeat through the tool. Rejects when it did not come through; the error's message is one sentence. */
  readonly probe: (timeout: number) => Promise<void>;
  /** After a failure: restores the node's own settings for the tool. Resolves with whether there was something to restore; then the heartbeat is sent again. Never rejects. */
  readonly mend: () => Promise<boolean>;
}

/** The health of all tools. The supervisor watches them, and tells the workers. */
export interface Watch {
  state(name: string): HealthState | undefined;
  /** A worker could not connect a session through the tool. */
  failed(name: string, reason: string): void;
  close(): void;
}

/** Sends heartbeats through each tool until closed. `onChange` is called when a tool has failed and when it has recovered. */
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
      // The last heartbeat may take longer than the period. It counts when it is over.
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
    // Without heartbeats the node would never notice that the tool has recovered.
    failed: (name, reason) => {
      if (watched.get(name)?.tool.heartbeat.enabled) fail(name, reason);
    },
    close() {
      closed = true;
      for (const timer of timers) clearInterval(timer);
    },
  };
}
