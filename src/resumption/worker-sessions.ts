import { createSessionKeeper, type SessionKeeper } from "./keeper.ts";
import { createSealer } from "./seal.ts";
import { createSessionCache } from "./session-cache.ts";

/** One worker's sessions with clients, and its unanswered questions to the cache of all workers. */
export interface WorkerSessions {
  /** Clients come back to any worker. */
  readonly clients: SessionKeeper;
  /** Takes the answer to a question. */
  settle(request: number, sealed: Uint8Array | undefined): void;
  /** Another worker, or another node, has forgotten a client's session. */
  forget(name: string): void;
}

/** The way to the cache of all workers. Every `find` is answered with `settle`. */
export interface SessionChannel {
  put(name: string, sealed: Uint8Array, until: number): void;
  find(name: string, request: number): void;
  forget(name: string): void;
}

/** `own`: the most sessions that this worker keeps itself. */
export function createWorkerSessions(secret: Uint8Array, own: number, channel: SessionChannel): WorkerSessions {
  const sealer = createSealer(secret);
  const clients = createSessionCache(own);
  const waiting = new Map<number, (sealed: Uint8Array | undefined) => void>();
  let last = 0;
  const shared = {
    put: channel.put,
    forget: channel.forget,
    find: (name: string) =>
      new Promise<Uint8Array | undefined>((resolve) => {
        last += 1;
        waiting.set(last, resolve);
        channel.find(name, last);
      }),
  };
  return {
    clients: createSessionKeeper({ sealer, own: clients, shared }),
    settle(request, sealed) {
      waiting.get(request)?.(sealed);
      waiting.delete(request);
    },
    forget: (name) => clients.forget(name),
  };
}
