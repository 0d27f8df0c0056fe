import type { FeedSession } from "../feeds/feed.ts";
import type { Side } from "../vocabulary.ts";
import { SessionReader } from "./reader.ts";
import { type LogEvent, Memory, type MemoryLimits, type SessionLog } from "./session-log.ts";
import { Collector, type Detail, type Keeping, type OpenBudget, type Transaction } from "./transaction.ts";

/** The sessions that the view reads, and the transactions that it found in them: all in memory, all bounded. */

export interface ViewOptions {
  readonly limits: MemoryLimits;
  /** What is kept of each transaction until it is over, for `onDone`. */
  readonly keeping: Keeping;
  onDone(transaction: Transaction, detail: Detail): void;
  /** A bug of the view itself: the session is left behind. */
  onBug(error: unknown): void;
}

/** What the view has now. */
export interface ViewState {
  /** Sessions that it reads. */
  readonly sessions: number;
  /** Sessions that it could not follow, since it started. */
  readonly leftBehind: number;
  /** Bytes of plaintext that it holds, with what they cost. */
  readonly held: number;
}

/** One session, as the intake tells of it. `time`: ms since the epoch. */
export interface ViewedSession {
  data(from: Side, bytes: Buffer, time: number): void;
  end(from: Side, isCut: boolean, time: number): void;
  reset(from: Side, time: number): void;
  close(time: number): void;
  /** The rest of the session will not be told. */
  leaveBehind(why: string, time: number): void;
}

/** The most transactions that are listed, also of one session, and sessions that are read. */
const LISTED = 5_000;
const LISTED_OF_SESSION = 1_000;
const SESSIONS = 4_096;
/** The most bytes that all readers may hold. */
const READERS = 128 * 1024 * 1024;
/** ms of one second that one session may take to be read, before it is left behind. */
const BUSY = 700;
const WINDOW = 5;

interface Reading {
  readonly log: SessionLog;
  readonly reader: SessionReader;
  readonly collector: Collector;
  /** ms that reading it took in this window. */
  spent: number;
}

export class View {
  readonly memory: Memory;
  readonly #options: ViewOptions;
  readonly #readings = new Map<string, Reading>();
  /** Transactions that are over, by session; the session whose last one is the oldest comes first. */
  readonly #done = new Map<string, Transaction[]>();
  #listed = 0;
  readonly #budget: OpenBudget = { open: 0 };
  #leftBehind = 0;
  #ticks = 0;

  constructor(options: ViewOptions) {
    this.#options = options;
    this.memory = new Memory(options.limits);
  }

  state(): ViewState {
    return { sessions: this.#readings.size, leftBehind: this.#leftBehind, held: this.memory.size };
  }

  /** Transactions, open and over, newest first. */
  transactions(wants: (transaction: Transaction) => boolean, limit: number): Transaction[] {
    const open = [...this.#readings.values()].flatMap(({ collector }) =>
      collector.openCount > 0 ? collector.open() : [],
    );
    const all = [...open, ...[...this.#done.values()].flat()].filter(wants);
    return all.sort((one, other) => other.started - one.started || other.number - one.number).slice(0, limit);
  }

  open(session: FeedSession, time: number): ViewedSession {
    const before = this.#readings.get(session.id);
    if (before) void this.#close(before, "the session went on as another one", time);
    const log = this.memory.open(session, time);
    if (this.#readings.size >= SESSIONS) {
      this.#leftBehind += 1;
      this.memory.close(log, `left behind: the view reads ${SESSIONS} sessions already`);
      return { data() {}, end() {}, reset() {}, close() {}, leaveBehind() {} };
    }
    const collector = new Collector(session, this.#options.keeping, this.#budget, (transaction, detail) =>
      this.#onDone(transaction, detail),
    );
    const reading: Reading = { log, collector, reader: new SessionReader(collector), spent: 0 };
    this.#readings.set(session.id, reading);
    return {
      data: (from, bytes, now) => {
        this.#take(reading, { kind: "data", from, bytes, time: now }, () => reading.reader.push(from, bytes));
      },
      end: (from, isCut, now) => {
        const event = { kind: isCut ? "cut" : "end", from, time: now } as const;
        this.#take(reading, event, () => reading.reader.end(from, isCut));
      },
      reset: (from, now) => this.#take(reading, { kind: "reset", from, time: now }, () => {}),
      close: (now) => void this.#close(reading, "the session ended first", now),
      leaveBehind: (why, now) => this.#leave(reading, why, now),
    };
  }

  /** To be called once a second: ends the display of sessions that cost too much. */
  tick(now: number): void {
    this.#ticks += 1;
    const readings = [...this.#readings.values()];
    if (this.#ticks % WINDOW === 0) {
      for (const reading of readings) {
        if (reading.spent > BUSY * WINDOW) this.#leave(reading, "left behind: it takes too long to read", now);
        reading.spent = 0;
      }
    }
    const weighed = readings.map((reading) => ({ reading, weight: reading.reader.weight }));
    let total = weighed.reduce((sum, { weight }) => sum + weight, 0);
    for (const { reading, weight } of weighed.sort((one, other) => other.weight - one.weight)) {
      if (total <= READERS) break;
      this.#leave(reading, "left behind: reading it needs too much memory", now);
      total -= weight;
    }
  }

  #take(reading: Reading, event: LogEvent, read: () => void): void {
    const { log, collector } = reading;
    if (log.isOver) return;
    const begun = performance.now();
    collector.now = event.time;
    try {
      this.memory.add(log, event);
      read();
    } catch (error) {
      this.#options.onBug(error);
      this.#leave(reading, "left behind: a bug of the view, which its log tells", event.time);
    }
    reading.spent += performance.now() - begun;
  }

  #leave(reading: Reading, why: string, time: number): void {
    if (reading.log.isOver) return;
    this.#leftBehind += 1;
    reading.collector.now = time;
    reading.reader.stop(why);
    this.#end(reading, why);
  }

  async #close(reading: Reading, why: string, time: number): Promise<void> {
    if (reading.log.isOver) return;
    this.#end(reading);
    // Messages of a WebSocket may still be decompressed.
    await reading.reader.close();
    reading.collector.now = time;
    reading.collector.close(why);
  }

  #end({ log }: Reading, missing?: string): void {
    this.memory.close(log, missing);
    this.#readings.delete(log.session.id);
  }

  #onDone(transaction: Transaction, detail: Detail): void {
    this.#list(transaction);
    this.#options.onDone(transaction, detail);
  }

  /** A session with many transactions loses its own oldest ones, not those of others. */
  #list(transaction: Transaction): void {
    const { session } = transaction;
    const own = this.#done.get(session) ?? [];
    own.push(transaction);
    this.#listed += 1;
    if (own.length > LISTED_OF_SESSION) this.#listed -= own.splice(0, LISTED_OF_SESSION / 10).length;
    this.#done.delete(session);
    this.#done.set(session, own);
    while (this.#listed > LISTED) {
      const [oldest, list] = this.#done.entries().next().value!;
      this.#done.delete(oldest);
      this.#listed -= list.length;
    }
  }
}
