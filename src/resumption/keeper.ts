import type { Sealer } from "./seal.ts";
import type { SessionCache } from "./session-cache.ts";

/** Everything that a session is bound to, its identifier included. It is found again only with exactly the same bond. */
export type Bond = readonly (string | number)[];

/** Where one worker keeps sessions: in its own cache, and sealed in the cache of all workers where there is one. */
export interface SessionKeeper {
  /** `until` in ms since the epoch. */
  put(bond: Bond, session: Uint8Array, until: number): void;
  /** `now` in ms since the epoch. */
  find(bond: Bond, now: number): Promise<Uint8Array | undefined>;
  /** Forgets every session with this bond, of all workers. */
  forget(bond: Bond): void;
  readonly size: number;
  readonly hits: number;
  readonly misses: number;
  /** Empties this worker's own cache. */
  flush(): number;
}

/** The cache of all workers, in another process. It never rejects: a session that cannot be had in time is not found. */
export interface SharedSessions {
  put(name: string, sealed: Uint8Array, until: number): void;
  find(name: string): Promise<Uint8Array | undefined>;
  forget(name: string): void;
}

export interface KeeperOptions {
  readonly sealer: Sealer;
  readonly own: SessionCache;
  readonly shared?: SharedSessions;
}

/** Separates their seals from those of other purposes. */
const KIND = "client";

export function createSessionKeeper({ sealer, own, shared }: KeeperOptions): SessionKeeper {
  let hits = 0;
  let misses = 0;
  return {
    put(bond, session, until) {
      const { name, seal } = sealer(KIND, bond);
      own.keep(name, session, until);
      shared?.put(name, seal(session), until);
    },
    async find(bond, now) {
      const { name, open } = sealer(KIND, bond);
      let session = own.find(name, now);
      if (!session && shared) {
        const sealed = await shared.find(name);
        session = sealed && open(sealed);
      }
      if (session) hits += 1;
      else misses += 1;
      return session;
    },
    forget(bond) {
      const { name } = sealer(KIND, bond);
      own.forget(name);
      shared?.forget(name);
    },
    flush: () => own.flush(),
    get size() {
      return own.size;
    },
    get hits() {
      return hits;
    },
    get misses() {
      return misses;
    },
  };
}
