import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { ConfigError } from "../errors.ts";
import { requireNetAdmin } from "../linux/capabilities.ts";
import { loadRules, probeFeatures, readCounters } from "../linux/nftables.ts";
import { readLink } from "../linux/routes.ts";
import { type ConditionValue, readPorts } from "../policy/conditions.ts";
import { networkRows } from "../policy/network-rows.ts";
import type { PolicySource } from "../policy/rule.ts";
import { applyPlan, undoPlan } from "./apply.ts";
import { type Counted, carryCounts } from "./listener/counters.ts";
import type { InlineListener, Plan, PlannedCounter } from "./listener/lane.ts";
import { planInline } from "./listener/plan.ts";
import type { LiveConnection } from "./listener/policy-rows.ts";
import type { Step } from "./step.ts";
import { type AnyTool, hasToolsJournal, planTools, undoTools } from "./tools.ts";

/** What the node asks of the kernel for its inline listeners: planned from the configuration, set up, taken down. */

/** What the kernel is set up from: the configuration, as far as it concerns the kernel. */
interface Configured {
  readonly config: { readonly listeners: readonly AnyListener[]; readonly tools: readonly AnyTool[] };
  readonly policy: PolicySource;
}

/** A listener of the configuration, of any mode. */
type AnyListener = ConfiguredInline | { readonly mode: string };

interface ConfiguredInline extends Omit<InlineListener, "addresses" | "gateways" | "ports"> {
  readonly address?: string | readonly string[] | undefined;
  readonly gateway?: string | readonly string[] | undefined;
  readonly ports: "all" | readonly ConditionValue[];
}

/**
 * Ports, queues and numbers that are Clearline's on this machine; a client never meets them. The ports are below those that
 * the kernel gives out by itself.
 */
const NUMBERS = {
  basePort: 17_001,
  baseQueue: 4_700,
  markShift: 16,
  routingTable: 4_700,
  rulePriority: 4_700,
} as const;

/**
 * Undefined: no listener is inline, and the kernel is left alone. `live`: both legs of the sessions that go on, whatever the
 * new rules say. Throws ConfigError.
 */
export function planListeners(
  { config, policy }: Configured,
  workers: number,
  live: readonly LiveConnection[] = [],
): Plan | undefined {
  const listeners = config.listeners.filter((listener) => "networkA" in listener);
  if (listeners.length === 0) return undefined;
  const links = listeners.map(({ name, networkA, networkB }) => {
    const [a] = [networkA, networkB].map((link) => {
      const found = readLink(link);
      if (found) return found;
      const path = `listeners.${name}`;
      throw new ConfigError(
        path,
        `Cannot stand between ${networkA} and ${networkB} (${path}): there is no interface ${link}`,
      );
    });
    return [name, a!.mac] as const;
  });
  return planInline({
    ...NUMBERS,
    workers,
    listeners: listeners.map(({ address, gateway, ports, ...listener }) => ({
      ...listener,
      addresses: address === undefined ? [] : [address].flat(),
      gateways: gateway === undefined ? [] : [gateway].flat(),
      ports:
        ports === "all"
          ? ports
          : ports.flatMap((value) => {
              const range = readPorts(value);
              return range ? [[range.first, range.last] as const] : [];
            }),
    })),
    features: probeFeatures(),
    // A bridge calls itself what its first port is called, and keeps it.
    bridgeMacs: Object.fromEntries(links),
    rows: networkRows(policy),
    live,
  });
}

/**
 * Sets the kernel up; what an earlier run left behind is taken over, or taken down first. Answers what of it could not be taken
 * down, a sentence each. Throws ConfigError, and then nothing is changed.
 */
export function setUpListeners(plan: Plan, dataDir: string): readonly string[] {
  const journal = journalOf(dataDir);
  mkdirSync(dirname(journal), { recursive: true, mode: 0o700 });
  return applyPlan(plan, journal);
}

/** Replaces the rules in one transaction, while traffic flows. Throws ConfigError: what needs more than new rules needs a restart. */
export async function changeListeners(before: Plan | undefined, after: Plan | undefined): Promise<void> {
  const rest = (plan: Plan | undefined) =>
    JSON.stringify(plan?.steps.map((step) => (step.kind === "command" && step.input === plan.nft ? "rules" : step)));
  if (rest(before) !== rest(after)) {
    throw new ConfigError("listeners", "Cannot reload: the inline listeners changed; start the node again");
  }
  if (!before || !after || before.nft === after.nft) return;
  loadRules(carryCounts(before, after, await readCounted()));
}

async function readCounted(): Promise<Counted> {
  const [inet, bridge] = await Promise.all([readCounters("inet", "clearline"), readCounters("bridge", "clearline")]);
  return { inet, bridge };
}

/** What one counter of the rules has counted; `name`: the rule or list of the policy, for a row. */
interface ListenerCount extends Pick<PlannedCounter, "listener" | "counts"> {
  readonly name: string | undefined;
  readonly packets: number;
  readonly bytes: number;
}

/** What the rules have counted, by listener. Throws ConfigError without nft. */
export async function readListenerCounts(plan: Plan | undefined): Promise<ListenerCount[]> {
  if (!plan) return [];
  const counted = await readCounted();
  return plan.counters.map(({ family, name, listener, counts, rowName }) => {
    const { packets, bytes } = counted[family].get(name) ?? { packets: 0, bytes: 0 };
    return { listener, counts, name: rowName, packets, bytes };
  });
}

/** Takes down exactly what was set up. Answers what could not be undone, a sentence each. Throws ConfigError while another process needs it. */
export function takeDownListeners(dataDir: string): readonly string[] {
  return undoPlan(journalOf(dataDir));
}

/** Every step of a start, in order: for the inline tools, then for the inline listeners. For people to read. Throws ConfigError. */
export function planNetwork(configured: Configured, workers: number): readonly Step[] {
  const tools = planTools(configured.config.tools, workers, { standing: true });
  return [...tools, ...(planListeners(configured, workers)?.steps ?? [])];
}

/**
 * Takes down what listeners and tools have left, without a node. Undefined: nothing was left. Throws ConfigError without the
 * capabilities that it needs, and while a node runs that needs what is there.
 */
export function undoNetwork(dataDir: string): readonly string[] | undefined {
  const [listeners, tools] = [existsSync(journalOf(dataDir)), hasToolsJournal(dataDir)];
  if (!listeners && !tools) return undefined;
  requireNetAdmin();
  return [...(listeners ? takeDownListeners(dataDir) : []), ...(tools ? undoTools(dataDir) : [])];
}

function journalOf(dataDir: string): string {
  return join(dataDir, "inline.json");
}
