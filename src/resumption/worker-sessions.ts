import { createSessionKeeper, type SessionKeeper } from "./keeper.ts";
import { createSealer } from "./seal.ts";
import { createSessionCaches, SESSION_CACHES, type SessionCacheName } from "./session-caches.ts";

/** One worker's sessions of both kinds, and its questions to the cache of all workers that are not answered yet. */
export interface WorkerSessions {
  readonly keepers: Readonly<Record<SessionCacheName, SessionKeeper>>;
  /** The answer to a question. */
  settle(request: number, sealed: Uint8Array | undefined): void;
}

/** What is said to the owner of the cache of all workers, who answers every question with `settle`. */
export interface SessionChannel {
  put(cache: SessionCacheName, name: string, sealed: Uint8Array, until: number): void;
  find(cache: SessionCacheName, name: string, request: number): void;
}

/** `entries`: sessions of each kind that this worker keeps itself. */
export function createWorkerSessions(secret: Uint8Array, entries: number, channel: SessionChannel): WorkerSessions {
  const sealer = createSealer(secret);
  const own = createSessionCaches(entries);
  const waiting = new Map<number, (sealed: Uint8Array | undefined) => void>();
  let last = 0;

  const keeperOf = (cache: SessionCacheName): SessionKeeper =>
    createSessionKeeper({
      kind: cache,
      sealer,
      own: own[cache],
      shared: {
        put: (name, sealed, until) => channel.put(cache, name, sealed, until),
        find: (name) =>
          new Promise((resolve) => {
            last += 1;
            waiting.set(last, resolve);
            channel.find(cache, name, last);
          }),
      },
    });
  return {
    keepers: Object.fromEntries(SESSION_CACHES.map((cache) => [cache, keeperOf(cache)])) as WorkerSessions["keepers"],
    settle(request, sealed) {
      waiting.get(request)?.(sealed);
      waiting.delete(request);
    },
  };
}
