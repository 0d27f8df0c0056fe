import { getHeapStatistics } from "node:v8";
import { listenerAddress } from "../config/listener.ts";
import type { FeedInfo, LimitInfo, Statistics, ToolInfo, WorkerInfo } from "../control/api.ts";
import type { Figures } from "../control/operations.ts";
import { readListenerCounts } from "../kernel/listeners.ts";
import { readStrangers } from "../kernel/tools.ts";
import { LIMIT_NAMES } from "../vocabulary.ts";
import { capacityNow } from "./capacity.ts";
import { KEYS } from "./counts.ts";
import { overloadInfo } from "./overload.ts";
import type { NodeState } from "./state.ts";

/** What the node has done since it started, and what runs in it now. */
export async function gatherStatistics(state: NodeState): Promise<Statistics> {
  const { minted, hits, entries } = state.mint.counters();
  const { versions } = state.active.loaded.config.policy;
  return {
    supervisor: supervisorInfo(state),
    workers: workerInfos(state),
    listeners: state.active.loaded.config.listeners.map((listener) => ({
      name: listener.name,
      mode: listener.mode,
      address: listenerAddress(listener),
    })),
    limits: limitInfo(state),
    overload: overloadInfo(state),
    mint: { minted, hits, size: entries },
    dns: dnsInfo(state),
    feeds: feedInfos(state),
    tools: await toolInfos(state),
    kernel: await readListenerCounts(state.inline),
    store: state.sharing.fleet?.state(),
    reload: lastReload(state),
    versions: { min: versions.min, max: versions.max },
  };
}

function lastReload({ reloads: { last } }: NodeState): Statistics["reload"] {
  return last ? { at: last.at, ok: last.succeeded, error: last.error ?? null } : null;
}

/** What only the metrics tell. */
export function gatherFigures({ active, reloads, logTargets, webhooks }: NodeState): Figures {
  const { sessions, perClient } = active.loaded.config.limits;
  const limits = [
    { limit: "limits.sessions", sessions },
    { limit: "limits.perClient.sessions", sessions: perClient.sessions },
    { limit: "limits.perClient.halfOpen", sessions: perClient.halfOpen },
  ];
  return {
    reloads,
    limits: limits.flatMap(({ limit, sessions }) => (sessions === undefined ? [] : [{ limit, sessions }])),
    logDropped: logTargets.dropped,
    webhooksLost: webhooks.lost,
  };
}

/** How many sessions the node carries at most, and whom its limits turned away. */
function limitInfo(state: NodeState): LimitInfo {
  const { sessions, bound } = capacityNow(state);
  const { counts, workers } = state;
  return {
    sessions: sessions * workers.count,
    bound,
    met: LIMIT_NAMES.map((limit) => ({
      limit,
      refused: counts.total(KEYS.turnedAway(limit, "refused")),
      evicted: counts.total(KEYS.turnedAway(limit, "evicted")),
    })).filter(({ refused, evicted }) => refused + evicted > 0),
  };
}

function dnsInfo({ workers, counts }: NodeState): Statistics["dns"] {
  const now = workers.list().flatMap(({ status }) => status ?? []);
  const caches = now.flatMap((status) => status.caches.filter(({ name }) => name === "dns"));
  return {
    hits: counts.total(KEYS.cache("dns", "hits")),
    misses: counts.total(KEYS.cache("dns", "misses")),
    negative: counts.total(KEYS.dnsNegative),
    waiting: now.reduce((sum, { dns }) => sum + dns.waiting, 0),
    size: caches.reduce((sum, { size }) => sum + size, 0),
  };
}

function supervisorInfo({ loopDelay }: NodeState): Statistics["supervisor"] {
  const { user, system } = process.cpuUsage();
  const delay = loopDelay.read();
  const { pid } = process;
  return {
    ...{ pid, memory: process.memoryUsage.rss(), heap: getHeapStatistics().used_heap_size },
    handles: process.getActiveResourcesInfo().length,
    cpu: (user + system) / 1e6,
    ...(delay && { delay }),
  };
}

function workerInfos({ workers, counts }: NodeState): WorkerInfo[] {
  return workers.list().map(({ status, accepts: _, ...worker }) => ({
    ...worker,
    sessions: status?.sessions ?? 0,
    cpu: counts.total(KEYS.cpu(worker.id)),
    ...(status && {
      memory: status.memory,
      heap: status.heap,
      handles: status.handles,
      engine: status.engine,
      overload: status.overload.level,
      ...(status.delay && { delay: status.delay }),
    }),
  }));
}

/** A feed of the configuration is open in every worker. One that was just started has not told of it yet. */
export function feedInfos({ active, workers, counts, changes }: NodeState): FeedInfo[] {
  const open = workers.list().flatMap(({ status }) => status?.feeds ?? []);
  return active.loaded.config.feeds.map(({ name, kind }) => {
    const stopped = open.find((part) => part.name === name && part.state === "stopped");
    const total = (count: "sessions" | "packets" | "bytes" | "dropped") => counts.total(KEYS.feed(kind, name, count));
    return {
      name,
      kind,
      state: stopped ? "stopped" : "running",
      ...(stopped && { reason: stopped.reason }),
      sessions: total("sessions"),
      packets: total("packets"),
      bytes: total("bytes"),
      dropped: total("dropped"),
      changes: changes.of("feed", name),
    };
  });
}

/** A tool is open in every worker; the supervisor watches its health. */
async function toolInfos({ active, watch, workers, counts, changes }: NodeState): Promise<ToolInfo[]> {
  const { tools } = active.loaded.config;
  const open = workers.list().flatMap(({ status }) => status?.tools ?? []);
  // Some strangers are dropped by the kernel's rules, before any worker sees them.
  const dropped = await readStrangers(tools);
  counts.add(
    "kernel",
    [...dropped].map(([name, packets]) => [KEYS.strangers(name), packets]),
  );
  return tools.map(({ name, kind, onFailure }) => {
    const { up = true, since = 0, reason } = watch.state(name) ?? {};
    return {
      name,
      kind,
      state: up ? "up" : "down",
      since,
      ...(reason !== undefined && { reason }),
      onFailure,
      sessions: open.reduce((sum, part) => sum + (part.name === name ? part.sessions : 0), 0),
      strangers: counts.total(KEYS.strangers(name)),
      changes: changes.of("tool", name),
    };
  });
}
