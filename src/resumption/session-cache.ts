/**
 * Sessions by name, bounded in number, bytes and age: the least recently put goes first, because sessions come from
 * clients and servers, and anyone can make many. Times in ms since the epoch.
 */
export interface SessionCache {
  put(name: string, session: Uint8Array, until: number): void;
  /** Undefined: there is none, or none any more. */
  find(name: string, now: number): Uint8Array | undefined;
  forget(name: string): void;
  flush(): number;
  readonly size: number;
}

export interface CacheBounds {
  readonly entries: number;
  /** Of all together. */
  readonly bytes: number;
  /** Of one name. */
  readonly ofOneName: number;
  /** What is found is found by nobody else: a ticket of TLS 1.3 is good for one connection (RFC 8446, appendix C.4). */
  readonly once: boolean;
}

interface Kept {
  readonly session: Uint8Array;
  readonly until: number;
}

export function createSessionCache({ entries, bytes, ofOneName, once }: CacheBounds): SessionCache {
  const kept = new Map<string, readonly Kept[]>();
  let count = 0;
  let size = 0;

  const replace = (name: string, next: readonly Kept[]): void => {
    const before = kept.get(name) ?? [];
    count += next.length - before.length;
    size += bytesOf(next) - bytesOf(before);
    if (next.length > 0) kept.set(name, next);
    else kept.delete(name);
  };

  return {
    put(name, session, until) {
      if (session.length > bytes) return;
      const earlier = kept.get(name)?.slice(0, ofOneName - 1) ?? [];
      // Out and in again: a Map keeps the order of what is put.
      replace(name, []);
      replace(name, [{ session, until }, ...earlier]);
      while (count > entries || size > bytes) {
        const [oldest, values] = kept.entries().next().value!;
        replace(oldest, values.slice(0, -1));
      }
    },
    find(name, now) {
      const fresh = kept.get(name)?.filter(({ until }) => until > now) ?? [];
      const [newest, ...others] = fresh;
      if (newest === undefined) replace(name, []);
      else if (once) replace(name, others);
      return newest?.session;
    },
    forget: (name) => replace(name, []),
    flush() {
      const flushed = count;
      kept.clear();
      count = 0;
      size = 0;
      return flushed;
    },
    get size() {
      return count;
    },
  };
}

function bytesOf(all: readonly Kept[]): number {
  return all.reduce((sum, { session }) => sum + session.length, 0);
}
