import type { CacheInfo } from "../control/api.ts";
import { log } from "../log.ts";
import type { CacheName } from "../messages.ts";
import { KEYS } from "./counts.ts";
import { isShared } from "./sharing.ts";
import type { NodeState } from "./state.ts";

/** What the node remembers, in the supervisor and in its workers: listed and flushed by name. */

/** The mint is the supervisor's. Of the others each worker has one. */
export function listCaches(state: NodeState): CacheInfo[] {
  const { mint, sharing, active, workers, counts } = state;
  const { minted, hits, entries } = mint.counters();
  // The workers count how often these helped; the supervisor holds what is in them.
  const sizes = new Map([
    ["sessions", { size: sharing.size, limit: active.loaded.config.resumption.sessions }],
    ["tickets", { size: sharing.ticketKeys.length, limit: 2 }],
  ]);
  for (const { status } of workers.list()) {
    for (const { name, size, limit } of status?.caches ?? []) {
      const sum = sizes.get(name) ?? { size: 0, limit: 0 };
      sizes.set(name, { size: sum.size + size, limit: sum.limit + limit });
    }
  }
  return [
    { name: "mint", size: entries, limit: 10_000, hits, misses: minted },
    ...[...sizes].map(([name, { size, limit }]) => ({
      name,
      size,
      limit,
      hits: counts.total(KEYS.cache(name, "hits")),
      misses: counts.total(KEYS.cache(name, "misses")),
    })),
  ];
}

/** Without a name: all of them. false: no cache has this name. */
export async function flushCaches(state: NodeState, name: string | undefined): Promise<boolean> {
  const names = listCaches(state).map((cache) => cache.name);
  if (name !== undefined && !names.includes(name)) return false;
  for (const one of name === undefined ? names : [name]) {
    forget(state, one as CacheName | "mint");
    if (isShared(one)) await state.sharing.flush(one);
  }
  return true;
}

/** What is remembered until a time on the clock would be remembered for too long once the clock is set back. */
export function noticeClock(state: NodeState): void {
  const back = state.clock.setBack();
  if (back === 0) return;
  log.warn({ seconds: Math.round(back / 1000) }, "The clock was set back: what was learnt of servers is forgotten");
  for (const name of ["demanding", "binding", "pinning"] as const) forget(state, name);
}

/** Empties a cache in the supervisor and in all workers, except for what `sharing` holds. */
export function forget(
  { mint, demanding, binding, refusals, pinning, workers }: NodeState,
  name: CacheName | "mint",
): void {
  if (name === "mint") mint.flush();
  if (name === "demanding") demanding.flush();
  if (name === "binding") binding.flush();
  if (name === "pinning") {
    pinning.flush();
    refusals.flush();
  }
  // What the mint forgot must not live on in the workers.
  workers.tell({ kind: "flush", cache: name === "mint" ? "issued" : name });
}
