import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, NetworkError } from "../errors.ts";
import { requireCapability } from "../linux/capabilities.ts";
import { within } from "../linux/netns.ts";
import { probeFeatures, readCounters } from "../linux/nftables.ts";
import { applyPlan, undoPlan } from "./apply.ts";
import { withErrorPath } from "./error-path.ts";
import type { Step } from "./step.ts";
import { namespaceOf, type ToolInterfaces } from "./tool/numbers.ts";
import { planToolSteps } from "./tool/plan.ts";

/** The kernel's part of the inline tools: a network namespace for each, with its interfaces, routes and rules. The supervisor calls these. */

/** A tool of the configuration, of any kind. */
export type AnyTool = ToolInterfaces | { readonly kind: string };

/**
 * Plans what the inline tools among these need. Empty: there are none, and the kernel stays as it is. `standing`: a running node may
 * have moved the interfaces already. Throws ConfigError.
 */
export function planTools(
  tools: readonly AnyTool[],
  workers: number,
  { standing = false }: { readonly standing?: boolean } = {},
): readonly Step[] {
  const inline = inlineTools(tools);
  if (inline.length === 0) return [];
  requireToolCapabilities();
  return withErrorPath("tools", () => planToolSteps({ tools: inline, workers, features: probeFeatures(), standing }));
}

/** Throws ConfigError when this process may not set up or take down a tool. */
export function requireToolCapabilities(): void {
  for (const name of ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"] as const) requireCapability(name, "tools", "an inline tool");
}

/** Does what was planned. What an earlier run left is taken down first. Throws ConfigError, and then nothing is changed. */
export function setUpTools(steps: readonly Step[], dataDir: string): readonly string[] {
  if (steps.length === 0) return takeDownTools(dataDir);
  return withErrorPath("tools", () => applyPlan({ steps }, journalOf(dataDir)));
}

/** Moves the interfaces back, also those of a run that crashed. Returns one sentence for each thing that could not be undone. Throws ConfigError while another process needs it. */
export function takeDownTools(dataDir: string): readonly string[] {
  return undoPlan(journalOf(dataDir));
}

/** Whether something was set up that has not been taken down. */
export function areToolsSetUp(dataDir: string): boolean {
  return existsSync(journalOf(dataDir));
}

/** Throws ConfigError when a reload would need interfaces to be moved or changed: that is done only at a start. */
export function checkToolsStay(before: readonly AnyTool[], after: readonly AnyTool[]): void {
  const old = inlineTools(before).map(({ tool }) => kernelPart(tool));
  const now = inlineTools(after);
  for (const { tool, path } of now) {
    if (old.includes(kernelPart(tool))) continue;
    throw new ConfigError(
      path,
      `Cannot reload: ${path} is new, or its interfaces or addresses changed; start the node again`,
    );
  }
  if (now.length < old.length) {
    throw new ConfigError("tools", "Cannot reload: an inline tool was removed; start the node again");
  }
}

/** The packets that came back from each inline tool and belonged to no session, by the tool's name. */
export async function readStrangers(tools: readonly AnyTool[]): Promise<ReadonlyMap<string, number>> {
  const counts = inlineTools(tools).map(async ({ tool }) => {
    try {
      const { counted } = within(namespaceOf(tool), () => ({ counted: readCounters("inet", "clearline") }));
      return [tool.name, (await counted).get("strangers")?.packets ?? 0] as const;
    } catch (error) {
      // Somebody has removed the namespace. The tool's heartbeat fails and reports it.
      if (!(error instanceof NetworkError || error instanceof ConfigError)) throw error;
      return [tool.name, 0] as const;
    }
  });
  return new Map(await Promise.all(counts));
}

function inlineTools(tools: readonly AnyTool[]): { tool: ToolInterfaces; path: string }[] {
  return tools.flatMap((tool, index) => ("interfaceA" in tool ? [{ tool, path: `tools[${index}]` }] : []));
}

/** Everything of a tool that only a start can change. */
function kernelPart(tool: ToolInterfaces): string {
  const { layer, interfaceA, interfaceB, addressA, addressB, gatewayA, gatewayB } = tool;
  return JSON.stringify([namespaceOf(tool), layer, interfaceA, interfaceB, addressA, addressB, gatewayA, gatewayB]);
}

function journalOf(dataDir: string): string {
  return join(dataDir, "tools.json");
}
