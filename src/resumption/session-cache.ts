import { Cache } from "../cache.ts";

/**
 * Sessions by name, bounded in number, bytes and age, because anyone can make many: clients and servers alike. One name may
 * have several sessions, and the newest is found first. Times in ms since the epoch.
 */
export interface SessionCache {
  put(name: string, session: Uint8Array, until: number): void;
  /** Undefined when there is none, or none that is still good. */
  find(name: string, now: number): Uint8Array | undefined;
  forget(name: string): void;
  flush(): number;
  readonly size: number;
}

export interface SessionBounds {
  readonly entries: number;
  /** Of all sessions together. */
  readonly bytes: number;
  /** The most sessions of one name. */
  readonly ofOneName: number;
  /** A session that was found is not found again: a ticket of TLS 1.3 is good for one connection (RFC 8446, appendix C.4). */
  readonly once: boolean;
}

export function createSessionCache({ entries, bytes, ofOneName, once }: SessionBounds): SessionCache {
  const cache = new Cache<{ readonly session: Uint8Array; readonly until: number }>({
    ...{ entries, bytes },
    sizeOf: ({ session }) => session.length,
  });
  /** The keys of a name's sessions, the newest first. */
  const keysOf = (name: string) => Array.from({ length: ofOneName }, (_, age) => `${name} ${age}`);

  return {
    put(name, session, until) {
      if (session.length > bytes) return;
      const keys = keysOf(name);
      const all = [{ session, until }, ...keys.map((key) => cache.find(key)).filter((one) => one !== undefined)];
      // The newest last, so that the oldest is the first to go.
      for (const [age, key] of [...keys.entries()].reverse()) {
        const one = all[age];
        if (one) cache.keep(key, one, one.until);
        else cache.forget(key);
      }
    },
    find(name, now) {
      for (const key of keysOf(name)) {
        const found = cache.find(key, now);
        if (found && once) cache.forget(key);
        if (found) return found.session;
      }
      return undefined;
    },
    forget(name) {
      for (const key of keysOf(name)) cache.forget(key);
    },
    flush: () => cache.flush(),
    get size() {
      return cache.size;
    },
  };
}
