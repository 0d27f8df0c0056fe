import type { CacheName, WorkerStatus } from "../messages.ts";
import { hostResolver, MOST_NAMES } from "../streams/resolve.ts";
import type { WorkerState } from "./state.ts";

/** The most entries of each cache. */
export const LIMITS = {
  issued: 4_000,
  contexts: 2_000,
  verified: 2_000,
  revocation: 10_000,
  demanding: 10_000,
  binding: 10_000,
  pinning: 10_000,
} as const;

interface CountedCache {
  readonly size: number;
  readonly hits?: number;
  readonly misses?: number;
  flush(): unknown;
}

/** The caches that the API lists and empties, with the most entries of each. */
function cachesOf(state: WorkerState): readonly (readonly [name: CacheName, limit: number, cache: CountedCache])[] {
  const names = Object.keys(LIMITS) as (keyof typeof LIMITS)[];
  return [
    ...names.map((name) => [name, LIMITS[name], state[name]] as const),
    ["server-sessions", state.serverSessions, state.sessions.servers],
    ["dns", MOST_NAMES, hostResolver],
  ];
}

/** Empties a cache, or without a name all of them. */
export function flushCaches(state: WorkerState, wanted: CacheName | undefined): void {
  for (const [name, , cache] of cachesOf(state)) if (wanted === undefined || wanted === name) cache.flush();
  if (wanted === undefined || wanted === "sessions") state.sessions.clients.flush();
}

export function cacheCounts(state: WorkerState): WorkerStatus["caches"] {
  const { tickets } = state;
  const { clients } = state.sessions;
  return [
    ...cachesOf(state).map(([name, limit, { size, hits = 0, misses = 0 }]) => ({ name, size, limit, hits, misses })),
    // The supervisor reports how many there are: it has the sessions of all workers, and makes the ticket keys.
    { name: "sessions", size: 0, limit: 0, hits: clients.hits, misses: clients.misses },
    { name: "tickets", size: 0, limit: 0, hits: tickets.hits, misses: tickets.misses },
  ];
}
