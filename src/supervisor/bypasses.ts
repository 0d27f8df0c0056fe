import { randomBytes } from "node:crypto";
import { ConfigError } from "../errors.ts";
import { type Bypass, BypassTable, isAddressBypass, readBypassEntry, reasonOfBypass } from "../policy/bypass.ts";
import {
  type BypassBook,
  EMPTY_BOOK,
  isSameBook,
  MOST_BYPASSES,
  mergeBooks,
  readBook,
  withBypass,
  withoutBypass,
} from "../policy/bypass-book.ts";
import type { SessionChange } from "../sessions/table.ts";
import { type KeptBypasses, readBypassFile, writeBypassFile } from "./bypass-file.ts";
import { BypassHits } from "./bypass-hits.ts";

export interface NewBypass extends Pick<Bypass, "entry" | "author" | "comment"> {
  /** ms from now; null: it has no end. */
  readonly time: number | null;
}

export interface ShownBypass extends Bypass {
  readonly kind: "host" | "address";
  /** ms until its end, whatever the clock says; null: it has none. */
  readonly remaining: number | null;
  /** Sessions of this node that it decided. */
  readonly hits: number;
  /** ms since the epoch; null: it has decided none. */
  readonly lastHit: number | null;
}

/** Who hears of changes. */
export interface BypassListeners {
  /** The bypasses in force are these now. */
  onChange(bypasses: readonly Bypass[]): void;
  /** This node added or removed some. */
  onNews(book: BypassBook): void;
}

interface Clocks {
  /** ms since the epoch, as the machine's clock says. */
  readonly wall: () => number;
  /** ms on a clock that nobody sets. */
  readonly steady: () => number;
}

interface KeeperOptions {
  readonly file: string;
  readonly log: { info(message: string): void; warn(message: string): void };
  readonly clocks?: Clocks;
}

const CLOCKS: Clocks = { wall: Date.now, steady: () => performance.now() };
/** ms between two writes of hits. */
const KEEP_HITS = 60_000;
const MOST_ENDED = 2_000;
/** The longest time of one timer, in ms. */
const LOOK_AGAIN = 3_600_000;

/**
 * The node's bypasses with an end: kept in a file, in force in `table`, and ended on time, whatever is done to the machine's clock
 * meanwhile. Changes run one after the other. One that cannot be written is refused, and the bypasses before it stay.
 */
export class BypassKeeper {
  readonly table = new BypassTable();
  readonly #options: KeeperOptions;
  readonly #clocks: Clocks;
  #listeners: BypassListeners = { onChange() {}, onNews() {} };
  #book: BypassBook;
  /** When each ends, on the steady clock. */
  readonly #ends = new Map<string, number>();
  /** Those that have ended: a clock that was set back must not bring them back from other nodes. */
  readonly #ended = new Set<string>();
  readonly #hits: BypassHits;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  readonly #hitsTimer: NodeJS.Timeout;

  /** Opens the file, if it exists. Throws ConfigError when it cannot be used: the bypasses in it must not be lost in silence. */
  static async open(options: KeeperOptions): Promise<BypassKeeper> {
    const { file, log } = options;
    return new BypassKeeper(options, await readBypassFile(file, (text) => log.warn(text)));
  }

  private constructor(options: KeeperOptions, { book, hits }: KeptBypasses) {
    this.#options = options;
    this.#clocks = options.clocks ?? CLOCKS;
    this.#hits = new BypassHits(hits);
    this.#book = book;
    this.#hitsTimer = setInterval(() => void this.#keepHits(), KEEP_HITS);
    this.#hitsTimer.unref();
    this.#use(book);
  }

  /** Tells this listener of all changes from now on. */
  listen(listeners: BypassListeners): void {
    this.#listeners = listeners;
  }

  /** The bypasses in force, for a worker. */
  active(): readonly Bypass[] {
    const now = this.#clocks.steady();
    return this.#book.bypasses.filter(({ id }) => (this.#ends.get(id) ?? Number.POSITIVE_INFINITY) > now);
  }

  /** The newest first. */
  list(): readonly ShownBypass[] {
    return this.active()
      .map((bypass) => this.#show(bypass))
      .sort((a, b) => b.made - a.made);
  }

  /** Replaces a bypass of the same entry. Throws ConfigError, and then nothing has changed. */
  add({ entry, author, comment, time }: NewBypass): Promise<{
    readonly bypass: ShownBypass;
    readonly replaced: Bypass | undefined;
  }> {
    return this.#inTurn(async () => {
      const made = this.#clocks.wall();
      const end = this.#clocks.steady() + (time ?? 0);
      const replaced = this.active().find((one) => one.entry === entry);
      const others = replaced ? withoutBypass(this.#current(), replaced, made) : this.#current();
      if (others.bypasses.length >= MOST_BYPASSES) {
        const why = `there are ${MOST_BYPASSES} already, which is the most; remove one first, or use a list`;
        throw new ConfigError("entry", `Cannot add a bypass of ${entry}: ${why}`);
      }
      const id = randomBytes(4).toString("hex");
      const expires = time === null ? null : made + time;
      const bypass: Bypass = { id, entry, author, comment, made, expires };
      const next = withBypass(others, bypass);
      await this.#write(next, `add a bypass of ${entry}, and nothing has changed`);
      if (time !== null) this.#ends.set(id, end);
      this.#use(next);
      // It may have ended while it was written.
      if (time !== null && end <= this.#clocks.steady()) this.#end();
      this.#listeners.onNews(next);
      return { bypass: this.#show(bypass), replaced };
    });
  }

  /** Removes the bypass with this ID or entry. Undefined: there is none. Throws ConfigError, and then nothing has changed. */
  remove(id: string): Promise<Bypass | undefined> {
    return this.#inTurn(async () => {
      const entry = readBypassEntry(id);
      const bypass = this.active().find((one) => one.id === id || one.entry === entry);
      if (!bypass) return undefined;
      const next = withoutBypass(this.#book, bypass, this.#clocks.wall());
      await this.#write(next, `remove the bypass of ${bypass.entry}, and nothing has changed`);
      this.#use(next);
      this.#listeners.onNews(next);
      return bypass;
    });
  }

  /**
   * Takes over what another node has written. The answer: what is to be written in its place; undefined: it has all that this node
   * has. Never rejects.
   */
  exchange(written: unknown): Promise<BypassBook | undefined> {
    return this.#inTurn(async () => {
      const { book: other } = written === undefined ? { book: EMPTY_BOOK } : readBook(written);
      const own = this.#current();
      const living = { ...other, bypasses: other.bypasses.filter(({ id }) => !this.#ended.has(id)) };
      const merged = mergeBooks(own, living, this.#clocks.wall());
      if (!isSameBook(merged, own)) {
        this.#tellOfOthers(own, merged);
        // A node whose disk is full follows the others all the same, until it ends.
        this.#use(merged);
        await this.#write(merged, "keep the bypasses of other nodes").catch(this.#warn);
      }
      return isSameBook(merged, other) ? undefined : merged;
    });
  }

  /** Counts the sessions that bypasses decided. */
  note(changes: readonly SessionChange[]): void {
    this.#hits.note(changes, idsOf(this.#book), this.#clocks.wall());
  }

  async close(): Promise<void> {
    clearInterval(this.#hitsTimer);
    await this.#keepHits();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #tellOfOthers(own: BypassBook, merged: BypassBook): void {
    const [before, after] = [idsOf(own), idsOf(merged)];
    const { log } = this.#options;
    for (const one of merged.bypasses)
      if (!before.has(one.id)) log.info(`From another node: bypass ${one.id}, ${reasonOfBypass(one)}`);
    for (const { id, entry } of own.bypasses)
      if (!after.has(id)) log.info(`Another node has removed the bypass ${id} of ${entry}`);
  }

  /** The book without what has ended. */
  #current(): BypassBook {
    return { ...this.#book, bypasses: this.active() };
  }

  #show(bypass: Bypass): ShownBypass {
    const end = this.#ends.get(bypass.id);
    const hits = this.#hits.of(bypass.id);
    return {
      ...bypass,
      kind: isAddressBypass(bypass) ? "address" : "host",
      remaining: end === undefined ? null : Math.max(0, Math.round(end - this.#clocks.steady())),
      hits: hits?.count ?? 0,
      lastHit: hits?.last ?? null,
    };
  }

  /** Puts the book in force. */
  #use(book: BypassBook): void {
    this.#book = book;
    const [wall, steady] = [this.#clocks.wall(), this.#clocks.steady()];
    const known = idsOf(book);
    for (const { id, made, expires } of book.bypasses) {
      // A machine may start with a clock that is years behind: no bypass gets more time than it was made for.
      if (expires !== null && !this.#ends.has(id))
        this.#ends.set(id, steady + Math.min(expires - wall, expires - made));
    }
    for (const id of this.#ends.keys()) if (!known.has(id)) this.#ends.delete(id);
    this.#hits.keepOnly(known);
    this.#enforce();
  }

  /** Everybody judges by what is in force now, and is told again when the next one ends. */
  #enforce(): void {
    const active = this.active();
    this.table.replace(active);
    this.#listeners.onChange(active);
    clearTimeout(this.#timer);
    const next = Math.min(...active.map(({ id }) => this.#ends.get(id) ?? Number.POSITIVE_INFINITY));
    if (next === Number.POSITIVE_INFINITY) return;
    const wait = Math.min(Math.max(next - this.#clocks.steady(), 0) + 1, LOOK_AGAIN);
    this.#timer = setTimeout(() => this.#end(), wait);
    this.#timer.unref();
  }

  #end(): void {
    this.#enforce();
    void this.#inTurn(async () => {
      const active = new Set(this.active());
      const ended = this.#book.bypasses.filter((one) => !active.has(one));
      if (ended.length === 0) return;
      for (const { entry, id } of ended) {
        this.#options.log.info(`The bypass ${id} of ${entry} has ended`);
        this.#ended.add(id);
      }
      for (const id of this.#ended) if (this.#ended.size > MOST_ENDED) this.#ended.delete(id);
      // Each node ends it by its own clock: one whose clock is wrong must not end it for the others.
      this.#use(this.#current());
      await this.#write(this.#book, "keep the bypasses").catch(this.#warn);
    });
  }

  #keepHits(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#hits.changed) return;
      this.#hits.changed = false;
      await this.#write(this.#book, "keep the hits of the bypasses").catch(this.#warn);
    });
  }

  /** Throws ConfigError. `action` completes "Cannot …". */
  async #write(book: BypassBook, action: string): Promise<void> {
    try {
      await writeBypassFile(this.#options.file, book, (id) => this.#hits.of(id));
    } catch (error) {
      throw new ConfigError("dataDir", `Cannot ${action}: ${(error as Error).message}`, { cause: error });
    }
  }

  readonly #warn = ({ message }: Error): void => this.#options.log.warn(message);

  #inTurn<Answer>(act: () => Promise<Answer>): Promise<Answer> {
    const done = this.#turn.then(act);
    this.#turn = done.catch(() => {});
    return done;
  }
}

function idsOf({ bypasses }: BypassBook): ReadonlySet<string> {
  return new Set(bypasses.map(({ id }) => id));
}
