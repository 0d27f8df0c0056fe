/**
 * A bounded cache: its entries end, the least recently used go when there are too many of them or they are too large together,
 * and whoever wants an entry that is already being made waits for it. Times in ms since the epoch.
 */
export interface Cache<Value> {
  /** Entries that never end need no `now`. */
  find(key: string, now?: number): Value | undefined;
  /** Replaces an earlier entry. A value that is larger than the whole cache may be is not kept. */
  keep(key: string, value: Value, until?: number, bytes?: number): void;
  /** Finds the value, or makes it, once for all who want it at the same time. A failure reaches all of them and is not kept. */
  take(key: string, now: number, make: () => Promise<MadeValue<Value>>): Promise<Value>;
  forget(key: string): void;
  /** Forgets every entry and returns how many there were. Values that are being made reach those who wait, and are not kept. */
  flush(): number;
  /** The least recently used first. */
  entries(): readonly (readonly [key: string, until: number])[];
  readonly size: number;
  /** Searches that found a value, or one that was being made; and all others. */
  readonly hits: number;
  readonly misses: number;
  /** Entries that had to go before their end. */
  readonly evicted: number;
}

export interface CacheBounds<Value> {
  /** The most entries that are kept; without it their number has no bound. */
  readonly entries?: number;
  /** The most bytes that they may have together. */
  readonly bytes?: number;
  /** Called with each value that is no longer kept, whatever the reason: for what is not the garbage collector's to free. */
  readonly onDropped?: (value: Value) => void;
}

export interface MadeValue<Value> {
  readonly value: Value;
  readonly until?: number;
  readonly bytes?: number;
}

export function createCache<Value extends {}>(bounds: CacheBounds<Value>): Cache<Value> {
  const {
    entries: mostEntries = Number.POSITIVE_INFINITY,
    bytes: mostBytes = Number.POSITIVE_INFINITY,
    onDropped,
  } = bounds;
  // A Map keeps the order of insertion: an entry that is used is put back at the end.
  const kept = new Map<string, Required<MadeValue<Value>>>();
  const making = new Map<string, Promise<MadeValue<Value>>>();
  const count = { hits: 0, misses: 0, evicted: 0 };
  let total = 0;

  function drop(key: string): void {
    const entry = kept.get(key);
    if (!entry) return;
    total -= entry.bytes;
    kept.delete(key);
    onDropped?.(entry.value);
  }

  function look(key: string, now: number): Value | undefined {
    const entry = kept.get(key);
    if (!entry || entry.until <= now) {
      drop(key);
      return undefined;
    }
    kept.delete(key);
    kept.set(key, entry);
    return entry.value;
  }

  function keep(key: string, value: Value, until = Number.POSITIVE_INFINITY, bytes = 0): void {
    drop(key);
    if (bytes > mostBytes) return;
    kept.set(key, { value, until, bytes });
    total += bytes;
    for (const oldest of kept.keys()) {
      if (kept.size <= mostEntries && total <= mostBytes) break;
      drop(oldest);
      count.evicted += 1;
    }
  }

  async function makeOnce(key: string, make: () => Promise<MadeValue<Value>>): Promise<Value> {
    const answer = make();
    making.set(key, answer);
    try {
      const { value, until, bytes } = await answer;
      if (making.get(key) === answer) keep(key, value, until, bytes);
      return value;
    } finally {
      if (making.get(key) === answer) making.delete(key);
    }
  }

  return {
    find(key, now = 0) {
      const value = look(key, now);
      count[value === undefined ? "misses" : "hits"] += 1;
      return value;
    },
    keep,
    async take(key, now, make) {
      const value = look(key, now);
      const answer = making.get(key);
      count[value === undefined && answer === undefined ? "misses" : "hits"] += 1;
      if (value !== undefined) return value;
      return answer === undefined ? makeOnce(key, make) : (await answer).value;
    },
    forget(key) {
      drop(key);
      making.delete(key);
    },
    flush() {
      const { size } = kept;
      for (const { value } of kept.values()) onDropped?.(value);
      kept.clear();
      making.clear();
      total = 0;
      return size;
    },
    entries: () => [...kept].map(([key, { until }]) => [key, until] as const),
    get size() {
      return kept.size;
    },
    get hits() {
      return count.hits;
    },
    get misses() {
      return count.misses;
    },
    get evicted() {
      return count.evicted;
    },
  };
}
