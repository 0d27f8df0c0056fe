import { setImmediate } from "node:timers/promises";
import type { Session } from "../sessions/record.ts";
import { compareSessions, compileQuery, type Position, type SessionQuery } from "../sessions/search.ts";
import type { HistoryInfo } from "./api.ts";
import { type Disk, DiskStall, type Store } from "./disk.ts";
import type { HistoryCalls, Report } from "./history-database.ts";
import { readsRecords } from "./history-query.ts";
import { rowOf } from "./history-schema.ts";

export interface HistoryOptions {
  /** Made when absent, with mode 0600. ":memory:" for a history that ends with the node. */
  readonly file: string;
  /** ms; sessions that ended longer ago are removed. */
  readonly keepAge: number;
  /** The most sessions; the oldest above it are removed. */
  readonly keepSessions: number;
  readonly log: { info(message: string): void; warn(message: string): void };
  /** Reads and writes the file. */
  readonly disk: Disk;
}

/** Sessions on disk. No method throws or rejects: when the disk fails or hangs, the history stops and sessions go on. */
export interface History {
  /** Resolves once the database is open: one of an earlier version may be brought up to date first. */
  readonly opened: Promise<void>;
  /** Keeps these records; one with a known id replaces the earlier record. They are written within a second, many at once. */
  record(sessions: Iterable<Session>): void;
  /** Writes the records that wait, and removes some sessions that are too old. `record` is enough to have this done. */
  flush(): Promise<void>;
  find(id: string): Promise<Session | undefined>;
  /**
   * Sessions that are over now, newest first, also those that are not written yet; some at a time, with time for the node's other work
   * between. There may be more than `limit`.
   */
  pages(query: SessionQuery, limit: number): AsyncIterable<readonly Session[]>;
  /**
   * Sessions that are over and began at `since` (ms since the epoch) or later, some at a time, with time for the node's other
   * work between. It ends early when the disk fails.
   */
  since(since: number): AsyncGenerator<readonly Session[]>;
  info(): HistoryInfo;
  close(): Promise<void>;
}

/** In ms. */
const WRITE_EVERY = 250;
/** The records of one transaction. */
const WRITE_MAX = 250;
/** The records that are read, and given, at once. */
const PAGE = 50;
/** The sessions whose records are looked into at once. */
const SLICE = 1_000;
/** The most records that wait while the disk fails. */
const WAITING_MAX = 10_000;

/** Opens or begins the history. A database that cannot be used is moved aside. */
export function openHistory(options: HistoryOptions): History {
  const waiting = new Map<string, Session>();
  const database = new Database(options);
  let writing: Promise<void> | undefined;
  const timer = setInterval(() => {
    database.look();
    void writeAll();
  }, WRITE_EVERY);
  timer.unref();

  /** One at a time. */
  function writeAll(): Promise<void> {
    const write = async () => {
      while (await writeSome());
      writing = undefined;
    };
    writing ??= write();
    return writing;
  }

  /** false: nothing waits any more, or it cannot be written now. */
  async function writeSome(): Promise<boolean> {
    if (database.rests) return false;
    const sessions = waiting.values().take(WRITE_MAX).toArray();
    if (!(await database.write(sessions))) return false;
    // A session may have changed meanwhile.
    for (const session of sessions) if (waiting.get(session.id) === session) waiting.delete(session.id);
    return waiting.size > 0;
  }

  async function flush(): Promise<void> {
    await writing;
    await writeAll();
  }

  /** The sessions that are not written yet. */
  function unwrittenOf(query: SessionQuery): Session[] {
    return [...waiting.values()].filter(({ end }) => end !== null).filter(compileQuery(query));
  }

  return {
    opened: database.opened,
    flush,
    record(sessions) {
      for (const session of sessions) {
        // Moved to the end: the record that has waited longest is written first, and lost first.
        waiting.delete(session.id);
        waiting.set(session.id, session);
        if (waiting.size > WAITING_MAX) waiting.delete(waiting.keys().next().value!);
      }
    },
    find: async (id) => waiting.get(id) ?? (await database.read((store) => store.call("find", id))),
    pages(query, limit) {
      const unwritten = newestFirst(unwrittenOf(query));
      const ids = new Set(waiting.keys());
      async function* read() {
        for await (const numbers of slicesOf(database, query, limit + ids.size)) {
          for (let at = 0; at < numbers.length; at += PAGE) {
            const records = (await database.read((store) => store.call("records", numbers.slice(at, at + PAGE)))) ?? [];
            const written = records.filter(({ id }) => !ids.has(id));
            const end = written.at(-1);
            const newer = end ? unwritten.findLastIndex((one) => compareSessions(one, end) < 0) + 1 : 0;
            yield* inParts(newestFirst([...unwritten.splice(0, newer), ...written]));
          }
        }
        yield* inParts(unwritten);
      }
      return read();
    },
    async *since(since) {
      const unwritten = unwrittenOf({ since });
      const ids = new Set(waiting.keys());
      for (let last: Position = { start: since, id: "" }; ; ) {
        const records = await database.read((store) => store.call("behind", last));
        const end = records?.at(-1);
        if (!records || !end) break;
        yield records.filter((one) => one.end !== null && !ids.has(one.id));
        last = { start: end.start, id: end.id };
      }
      yield* inParts(unwritten);
    },
    info: () => database.info(),
    async close() {
      clearInterval(timer);
      await database.close(flush);
    },
  };
}

async function* inParts(sessions: readonly Session[]): AsyncGenerator<readonly Session[]> {
  for (let at = 0; at < sessions.length; at += PAGE) {
    yield sessions.slice(at, at + PAGE);
    await setImmediate();
  }
}

function newestFirst(sessions: readonly Session[]): Session[] {
  return sessions.toSorted(compareSessions);
}

/** The numbers of the sessions that a search finds: at once, or so many at a time that reading their records holds up no write. */
async function* slicesOf(database: Database, query: SessionQuery, limit: number): AsyncGenerator<readonly number[]> {
  if (!readsRecords(query)) {
    yield (await database.read((store) => store.call("numbers", query, limit))) ?? [];
    return;
  }
  // Whatever began later need not be looked at.
  let after = query.after ?? (query.until === undefined ? undefined : { start: query.until, id: "" });
  for (let room = limit; room > 0; ) {
    const slice = { ...query, after };
    const end = await database.read((store) => store.call("endOf", slice, SLICE));
    const numbers = (await database.read((store) => store.call("numbers", slice, room, end))) ?? [];
    yield numbers;
    if (!end || end.start < (query.since ?? 0)) return;
    after = end;
    room -= numbers.length;
  }
}

/** The database, in the disk's thread, and how it does. */
class Database {
  readonly opened: Promise<void>;
  readonly #options: HistoryOptions;
  readonly #store: Store<HistoryCalls>;
  #info: HistoryInfo = { state: "running", sessions: 0 };
  /** ms on the clock of `performance`: after a failure, writing is not tried again before. */
  #restsUntil = 0;
  /** Why the disk's silence stopped the history. */
  #stall: string | undefined;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#store = options.disk.open("history", options.file);
    this.opened = this.#store.call("info").then((report) => void this.#take(report));
  }

  get rests(): boolean {
    return this.#restsUntil > performance.now();
  }

  /** undefined: it cannot be written now. Resolves when the disk has answered, however long that takes. */
  async write(sessions: readonly Session[]): Promise<true | undefined> {
    const { keepAge: age, keepSessions } = this.#options;
    const keep = { age, sessions: keepSessions, wall: Date.now(), passed: performance.now() };
    return this.#take(await this.#store.call("write", sessions.map(rowOf), keep));
  }

  /** undefined: nothing was found, or the disk does not answer. */
  async read<Found>(ask: (store: Store<HistoryCalls>) => Promise<Report<Found>>): Promise<Found | undefined> {
    const { disk } = this.#options;
    if (disk.refusal) return undefined;
    const answer = ask(this.#store).then((report) => this.#take(report));
    return await disk.inTime(answer).catch((error: unknown) => {
      if (error instanceof DiskStall) return undefined;
      throw error;
    });
  }

  /** Notices a disk that does not answer. */
  look(): void {
    const { disk, file, log } = this.#options;
    if (this.#stall !== undefined || !disk.stall) return;
    this.#stall = disk.stall.message;
    log.warn(`Cannot use the history ${file}: ${this.#stall}. The history stops; sessions go on`);
  }

  #take<Found>({ value, info, rests, said }: Report<Found>): Found | undefined {
    const { log } = this.#options;
    if (this.#stall !== undefined) log.info("The history goes on: the disk answers again");
    this.#stall = undefined;
    this.#info = info;
    this.#restsUntil = performance.now() + rests;
    for (const { level, text } of said) log[level](text);
    return value;
  }

  info(): HistoryInfo {
    if (this.#stall === undefined) return this.#info;
    return { ...this.#info, state: "stopped", reason: this.#stall };
  }

  /** Does not wait for a disk that does not answer. */
  async close(flush: () => Promise<void>): Promise<void> {
    const { disk, file, log } = this.#options;
    await disk.inTime(flush().then(() => this.#store.call("close"))).catch((error: unknown) => {
      if (!(error instanceof DiskStall)) throw error;
      log.warn(`Cannot write the last sessions to the history ${file}: ${error.message}`);
    });
  }
}
