import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, NetworkError } from "../errors.ts";
import { requireCapability } from "../linux/capabilities.ts";
import { within } from "../linux/netns.ts";
import { probeFeatures, readCounters } from "../linux/nftables.ts";
import { applyPlan, undoPlan } from "./apply.ts";
import { onBehalfOf } from "./behalf.ts";
import type { Step } from "./step.ts";
import { namespaceOf, type ToolInterfaces } from "./tool/numbers.ts";
import { planToolSteps } from "./tool/plan.ts";

/** What the kernel is told for the inline tools: once, by the supervisor. */

/** A tool of the configuration, of any kind. */
export type AnyTool = ToolInterfaces | { readonly kind: string };

/**
 * The steps for the inline tools among these; none: the kernel is left alone. `standing`: the interfaces may be where a node that
 * runs has put them. Throws ConfigError.
 */
export function planTools(
  tools: readonly AnyTool[],
  workers: number,
  { standing = false }: { readonly standing?: boolean } = {},
): readonly Step[] {
  const inline = inlineTools(tools);
  if (inline.length === 0) return [];
  requireRights();
  return onBehalfOf("tools", () => planToolSteps({ tools: inline, workers, features: probeFeatures(), standing }));
}

function requireRights(): void {
  for (const name of ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"] as const) requireCapability(name, "tools", "an inline tool");
}

/** Sets the tools' namespaces up. Throws ConfigError, and then nothing is changed. */
export function setUpTools(steps: readonly Step[], dataDir: string): void {
  if (steps.length === 0) return;
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  onBehalfOf("tools", () => applyPlan({ steps }, journalOf(dataDir)));
}

/** Gives the interfaces back, also those of a run that crashed. Answers what could not be undone, a sentence each. */
export function takeDownTools(dataDir: string): readonly string[] {
  return undoPlan(journalOf(dataDir));
}

/** Whether something was set up that has not been taken down. */
export function hasToolsJournal(dataDir: string): boolean {
  return existsSync(journalOf(dataDir));
}

/** As takeDownTools, without a node. Throws ConfigError without the capabilities that it needs. */
export function undoTools(dataDir: string): readonly string[] {
  requireRights();
  return takeDownTools(dataDir);
}

/** A tool's interfaces are given to it once. Throws ConfigError when a reload would need it to be done anew. */
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
    throw new ConfigError("tools", "Cannot reload: an inline tool was taken away; start the node again");
  }
}

/** Packets that came back from each inline tool and belonged to no session, by the tool's name. */
export async function readStrangers(tools: readonly AnyTool[]): Promise<ReadonlyMap<string, number>> {
  const counts = inlineTools(tools).map(async ({ tool }) => {
    try {
      const { counted } = within(namespaceOf(tool), () => ({ counted: readCounters("inet", "clearline") }));
      return [tool.name, (await counted).get("strangers")?.packets ?? 0] as const;
    } catch (error) {
      // Somebody took the namespace away: its health says so.
      if (!(error instanceof NetworkError || error instanceof ConfigError)) throw error;
      return [tool.name, 0] as const;
    }
  });
  return new Map(await Promise.all(counts));
}

function inlineTools(tools: readonly AnyTool[]): { tool: ToolInterfaces; path: string }[] {
  return tools.flatMap((tool, index) => ("interfaceA" in tool ? [{ tool, path: `tools[${index}]` }] : []));
}

function kernelPart(tool: ToolInterfaces): string {
  const { layer, interfaceA, interfaceB, addressA, addressB, gatewayA, gatewayB } = tool;
  return JSON.stringify([namespaceOf(tool), layer, interfaceA, interfaceB, addressA, addressB, gatewayA, gatewayB]);
}

function journalOf(dataDir: string): string {
  return join(dataDir, "tools.json");
}
