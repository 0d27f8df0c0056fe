import { requireNetAdmin } from "../linux/capabilities.ts";
import { areListenersSetUp, type ListenersConfig, planListeners, takeDownListeners } from "./listeners.ts";
import type { Step } from "./step.ts";
import { type AnyTool, areToolsSetUp, planTools, requireToolCapabilities, takeDownTools } from "./tools.ts";

/** Everything that the node changes in this machine's network, for `clearline inline plan` and `clearline inline undo`. */

/** Every step of a start, in order: for the inline tools, then for the inline listeners. Throws ConfigError. */
export function planNetwork(
  configured: ListenersConfig & { readonly config: { readonly tools: readonly AnyTool[] } },
  workers: number,
): readonly Step[] {
  const tools = planTools(configured.config.tools, workers, { standing: true });
  return [...tools, ...(planListeners(configured, workers)?.steps ?? [])];
}

/**
 * Takes down what a node that was killed has left. Undefined: it has left nothing. Otherwise one sentence for each thing that could
 * not be undone. Throws ConfigError without the capabilities that it needs, and while the node runs.
 */
export function undoNetwork(dataDir: string): readonly string[] | undefined {
  const [listeners, tools] = [areListenersSetUp(dataDir), areToolsSetUp(dataDir)];
  if (!listeners && !tools) return undefined;
  requireNetAdmin();
  const problems = listeners ? takeDownListeners(dataDir) : [];
  if (!tools) return problems;
  requireToolCapabilities();
  return [...problems, ...takeDownTools(dataDir)];
}
