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

/**
 * A bounded cache: its entries end, the least recently used go when there are too many of them or they are too large together,
 * and whoever wants an entry that is already being made waits for it. Times in ms since the epoch.
 */
export class Cache<Value extends {}> {
  readonly #mostEntries: number;
  readonly #mostBytes: number;
  readonly #onDropped: ((value: Value) => void) | undefined;
  /** A Map keeps the order of insertion: an entry that is used is put back at the end. */
  readonly #kept = new Map<string, Required<MadeValue<Value>>>();
  readonly #making = new Map<string, Promise<MadeValue<Value>>>();
  #bytes = 0;
  #hits = 0;
  #misses = 0;
  #evicted = 0;

  constructor({ entries = Number.POSITIVE_INFINITY, bytes = Number.POSITIVE_INFINITY, onDropped }: CacheBounds<Value>) {
    this.#mostEntries = entries;
    this.#mostBytes = bytes;
    this.#onDropped = onDropped;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Searches that found a value, or one that was being made. */
  get hits(): number {
    return this.#hits;
  }

  get misses(): number {
    return this.#misses;
  }

  /** Entries that had to go before their end. */
  get evicted(): number {
    return this.#evicted;
  }

  /** The least recently used first. */
  entries(): readonly (readonly [key: string, until: number])[] {
    return [...this.#kept].map(([key, { until }]) => [key, until] as const);
  }

  /** Entries that never end need no `now`. */
  find(key: string, now = 0): Value | undefined {
    const value = this.#use(key, now);
    if (value === undefined) this.#misses += 1;
    else this.#hits += 1;
    return value;
  }

  /** Replaces an earlier entry. A value that is larger than the whole cache may be is not kept. */
  keep(key: string, value: Value, until = Number.POSITIVE_INFINITY, bytes = 0): void {
    this.#drop(key);
    if (bytes > this.#mostBytes) return;
    this.#kept.set(key, { value, until, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#mostEntries && this.#bytes <= this.#mostBytes) break;
      this.#drop(oldest);
      this.#evicted += 1;
    }
  }

  /** Finds the value, or makes it, once for all who want it at the same time. A failure reaches all of them and is not kept. */
  async take(key: string, now: number, make: () => Promise<MadeValue<Value>>): Promise<Value> {
    const value = this.#use(key, now);
    const answer = this.#making.get(key);
    if (value === undefined && answer === undefined) {
      this.#misses += 1;
      return this.#make(key, make);
    }
    this.#hits += 1;
    return value ?? (await answer!).value;
  }

  /** A value that is being made reaches those who wait for it, and is not kept. */
  forget(key: string): void {
    this.#drop(key);
    this.#making.delete(key);
  }

  /** Forgets every entry and returns how many there were. */
  flush(): number {
    const { size } = this.#kept;
    for (const key of [...this.#kept.keys()]) this.#drop(key);
    this.#making.clear();
    return size;
  }

  #use(key: string, now: number): Value | undefined {
    const entry = this.#kept.get(key);
    if (!entry || entry.until <= now) {
      this.#drop(key);
      return undefined;
    }
    this.#kept.delete(key);
    this.#kept.set(key, entry);
    return entry.value;
  }

  #drop(key: string): void {
    const entry = this.#kept.get(key);
    if (!entry) return;
    this.#bytes -= entry.bytes;
    this.#kept.delete(key);
    this.#onDropped?.(entry.value);
  }

  async #make(key: string, make: () => Promise<MadeValue<Value>>): Promise<Value> {
    const answer = make();
    this.#making.set(key, answer);
    try {
      const { value, until, bytes } = await answer;
      if (this.#making.get(key) === answer) this.keep(key, value, until, bytes);
      return value;
    } finally {
      if (this.#making.get(key) === answer) this.#making.delete(key);
    }
  }
}
