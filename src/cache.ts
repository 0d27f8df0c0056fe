import { hash } from "node:crypto";

export interface CacheBounds<Value> {
  /** The most entries that are kept. */
  readonly entries: number;
  /** The most bytes of memory that they may take together, with their keys. */
  readonly bytes: number;
  /** How much memory a value takes, in bytes. Peers choose what is in it, so this has to grow with what they send. */
  readonly sizeOf: (value: Value) => number;
  /** Called with each value that is no longer kept, whatever the reason: for what is not the garbage collector's to free. */
  readonly onDropped?: (value: Value) => void;
}

export interface MadeValue<Value> {
  readonly value: Value;
  readonly until?: number;
}

/** What an entry takes beside its value, in bytes: its key, which is short or a hash, its place in the Map, and its dates. */
export const ENTRY_BYTES = 320;

/** Keys longer than this are kept as their hash: peers choose their length. */
const LONGEST_KEY = 128;
const HASHED = "sha256 ";
/** ms. Whoever asks may have looked at the clock a moment before the value was made. */
const JITTER = 60_000;

/**
 * A bounded cache: its entries end, the least recently used go when there are too many of them or they are too large together,
 * and whoever wants an entry that is already being made waits for it. Times in ms since the epoch.
 */
export class Cache<Value extends {}> {
  readonly #mostEntries: number;
  readonly #mostBytes: number;
  readonly #sizeOf: (value: Value) => number;
  readonly #onDropped: ((value: Value) => void) | undefined;
  /** A Map keeps the order of insertion: an entry that is used is put back at the end. */
  readonly #kept = new Map<string, Required<MadeValue<Value>> & { readonly since: number; readonly bytes: number }>();
  readonly #making = new Map<string, Promise<MadeValue<Value>>>();
  #bytes = 0;
  #hits = 0;
  #misses = 0;
  #evicted = 0;

  constructor({ entries, bytes, sizeOf, onDropped }: CacheBounds<Value>) {
    this.#mostEntries = entries;
    this.#mostBytes = bytes;
    this.#sizeOf = sizeOf;
    this.#onDropped = onDropped;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** What the entries take, by `sizeOf`. */
  get bytes(): number {
    return this.#bytes;
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
  entries(): readonly (readonly [value: Value, until: number])[] {
    return Array.from(this.#kept.values(), ({ value, until }) => [value, until] as const);
  }

  /** Entries that never end need no `now`. */
  find(key: string, now = 0): Value | undefined {
    const value = this.#use(nameOf(key), now);
    if (value === undefined) this.#misses += 1;
    else this.#hits += 1;
    return value;
  }

  /** Replaces an earlier entry. A value that is larger than the whole cache may be is not kept. */
  keep(key: string, value: Value, until = Number.POSITIVE_INFINITY): void {
    this.#keep(nameOf(key), value, until, 0);
  }

  #keep(name: string, value: Value, until: number, since: number): void {
    this.#drop(name);
    const bytes = ENTRY_BYTES + this.#sizeOf(value);
    if (bytes > this.#mostBytes) return;
    this.#kept.set(name, { value, until, since, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#mostEntries && this.#bytes <= this.#mostBytes) break;
      this.#drop(oldest);
      this.#evicted += 1;
    }
  }

  /** Finds the value, or makes it, once for all who want it at the same time. A failure reaches all of them and is not kept. */
  async take(key: string, now: number, make: () => Promise<MadeValue<Value>>): Promise<Value> {
    const name = nameOf(key);
    const value = this.#use(name, now);
    const answer = this.#making.get(name);
    if (value === undefined && answer === undefined) {
      this.#misses += 1;
      return this.#make(name, now, make);
    }
    this.#hits += 1;
    return value ?? (await answer!).value;
  }

  /** A value that is being made reaches those who wait for it, and is not kept. */
  forget(key: string): void {
    const name = nameOf(key);
    this.#drop(name);
    this.#making.delete(name);
  }

  /** Forgets every entry and returns how many there were. */
  flush(): number {
    const { size } = this.#kept;
    for (const name of [...this.#kept.keys()]) this.#drop(name);
    this.#making.clear();
    return size;
  }

  #use(name: string, now: number): Value | undefined {
    const entry = this.#kept.get(name);
    // Made in the future: the clock was wrong then, and so may be what was made.
    if (!entry || entry.until <= now || (now > 0 && entry.since > now + JITTER)) {
      this.#drop(name);
      return undefined;
    }
    this.#kept.delete(name);
    this.#kept.set(name, entry);
    return entry.value;
  }

  #drop(name: string): void {
    const entry = this.#kept.get(name);
    if (!entry) return;
    this.#bytes -= entry.bytes;
    this.#kept.delete(name);
    this.#onDropped?.(entry.value);
  }

  async #make(name: string, now: number, make: () => Promise<MadeValue<Value>>): Promise<Value> {
    const answer = make();
    this.#making.set(name, answer);
    try {
      const { value, until = Number.POSITIVE_INFINITY } = await answer;
      if (this.#making.get(name) === answer) this.#keep(name, value, until, now);
      return value;
    } finally {
      if (this.#making.get(name) === answer) this.#making.delete(name);
    }
  }
}

function nameOf(key: string): string {
  if (key.length <= LONGEST_KEY && !key.startsWith(HASHED)) return key;
  return `${HASHED}${hash("sha256", key, "base64url")}`;
}
