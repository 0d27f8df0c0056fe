import type { Arrival } from "../capture/arrival.ts";
import { identityOf, openListener } from "../capture/modes.ts";
import { TrustStore } from "../engine/verify.ts";
import type { Feed } from "../feeds/feed.ts";
import { openFeed } from "../feeds/kinds.ts";
import { log } from "../log.ts";
import type { WorkerSetup } from "../messages.ts";
import { createAddressSet, readAddress } from "../policy/address-set.ts";
import { type ChainTool, createChains, type ToolStage } from "../tools/chain.ts";
import { openTool } from "../tools/kinds.ts";
import type { AdmissionLimits } from "./admission.ts";
import { composeNode } from "./compose.ts";
import type { WorkerState } from "./state.ts";

/**
 * What a configuration changes in a worker. New sessions see all of it, live ones none. Listeners and tools that stay open read
 * timeouts and limits from `state.setup` when they need them. Throws ConfigError.
 */
export async function applySetup(state: WorkerState, next: WorkerSetup): Promise<void> {
  state.trust = new TrustStore(next.roots);
  state.contexts.flush();
  // Some of these certificates may have been verified by a root that is no longer trusted.
  state.verified.flush();
  state.tickets.keys = next.resumption.ticketKeys;
  state.offered = next.offered;
  const { feeds } = state;
  const fresh = await openFeeds(state, next);
  try {
    const chains = await openTools(state, next);
    state.node = composeNode(next, fresh, chains, state);
    await openListeners(state, next);
  } catch (error) {
    // The supervisor returns to the setup that worked, which does not have these feeds.
    for (const feed of fresh) if (!feeds.includes(feed)) await feed.close();
    throw error;
  }
  state.feeds = fresh;
  state.setup = next;
  for (const feed of feeds) if (!fresh.includes(feed)) await feed.close();
}

/** Opens the feeds. Those whose configuration did not change stay open, with their files. */
async function openFeeds({ feeds, setup }: WorkerState, next: WorkerSetup): Promise<readonly Feed[]> {
  const { worker, workers, config } = next;
  return Promise.all(
    config.feeds.map((feed) => {
      const index = setup.config.feeds.findIndex((old) => JSON.stringify(old) === JSON.stringify(feed));
      return feeds[index] ?? openFeed(feed, { worker, workers, dataDir: config.dataDir, log });
    }),
  );
}

/** Opens the tools. The old tool is closed first: two tools cannot have the same name or the same interfaces. */
async function openTools(state: WorkerState, { config, worker, workers }: WorkerSetup): Promise<ToolStage> {
  const { tools, traffic, returns, tell } = state;
  const wanted = new Set(config.tools.map((tool) => JSON.stringify(tool)));
  for (const [key, tool] of tools) {
    if (wanted.has(key)) continue;
    tools.delete(key);
    await tool.close();
  }
  const warn = log.warn.bind(log);
  const timeout = () => state.setup.config.timeouts.connect;
  const chained: ChainTool[] = [];
  for (const [index, tool] of config.tools.entries()) {
    const key = JSON.stringify(tool);
    const context = { path: `tools[${index}]`, worker, workers, loop: state.loop, timeout, returns, warn };
    const open = tools.get(key) ?? (await openTool(tool, context));
    tools.set(key, open);
    chained.push({ ...tool, open });
  }
  return createChains(chained, traffic, (name, reason) => void tell({ kind: "tool failed", name, reason }));
}

async function openListeners(state: WorkerState, { config, inline, worker, workers }: WorkerSetup): Promise<void> {
  const { listeners } = state;
  const wanted = new Map(config.listeners.map((listener, index) => [identityOf(listener), { listener, index }]));
  for (const [key, server] of listeners) {
    if (wanted.has(key)) continue;
    await server.close();
    listeners.delete(key);
  }
  const settings = () => {
    const { timeouts, limits } = state.setup.config;
    return { timeouts, limits, sessions: state.setup.capacity.sessions };
  };
  const arrive = (arrival: Arrival) => {
    state.overload.arrive();
    state.admission.admit(arrival, limitsOf(state.setup));
  };
  for (const [key, { listener, index }] of wanted) {
    if (listeners.has(key)) continue;
    const context = {
      path: `listeners[${index}]`,
      addresses: addressTest,
      inline,
      worker,
      workers,
      loop: state.loop,
      settings,
      arrive,
    };
    listeners.set(key, await openListener(listener, context));
  }
}

function limitsOf({ config: { limits }, capacity, workers }: WorkerSetup): AdmissionLimits {
  // The kernel spreads a client's connections over the workers.
  const share = (limit: number | undefined) => Math.ceil((limit ?? Number.POSITIVE_INFINITY) / workers);
  const { sessions, halfOpen } = limits.perClient;
  return { ...capacity, perClient: { sessions: share(sessions), halfOpen: share(halfOpen) } };
}

function addressTest(entries: readonly string[]): (address: string) => boolean {
  const set = createAddressSet(entries.map((entry) => [entry, true]));
  return (text) => {
    const address = readAddress(text);
    return address !== undefined && set.find(address).length > 0;
  };
}
