import { renameSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import type { Session } from "../sessions/record.ts";
import { compareSessions, compileQuery, type SessionQuery } from "../sessions/search.ts";
import type { HistoryInfo } from "./api.ts";
import { isUnusable } from "./database.ts";
import { readsRecords } from "./history-query.ts";
import { type HistoryStore, openStore } from "./history-store.ts";
import { RetentionClock } from "./retention-clock.ts";

export interface HistoryOptions {
  /** Made when absent, with mode 0600. ":memory:" for a history that ends with the node. */
  readonly file: string;
  /** ms; sessions that ended longer ago are removed. */
  readonly keepAge: number;
  /** The most sessions; the oldest above it are removed. */
  readonly keepSessions: number;
  readonly log: { info(message: string): void; warn(message: string): void };
}

/** Sessions on disk. No method throws: when the disk fails, the history stops and sessions go on. */
export interface History {
  /** Keeps these records; one with a known id replaces the earlier record. They are written within a second, many at once. */
  record(sessions: Iterable<Session>): void;
  /** Writes the records that wait, and removes some sessions that are too old. `record` is enough to have this done. */
  flush(): void;
  find(id: string): Session | undefined;
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
  close(): void;
}

/** In ms. */
const WRITE_EVERY = 250;
/** After a failure, writing is tried again: less often when the last success did not last. */
const RETRY = { after: 5_000, relapsed: 30_000, lasting: 60_000 };
/** The records of one transaction. While it is written, the supervisor does nothing else, such as issuing certificates. */
const WRITE_MAX = 250;
/** ms that it may take to write what has come, once in WRITE_EVERY. */
const WRITE_FOR = 50;
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
  let clock: RetentionClock | undefined;
  const timer = setInterval(writeForAWhile, WRITE_EVERY);
  timer.unref();

  function writeForAWhile(): void {
    for (const begun = performance.now(); writeSome() && performance.now() - begun < WRITE_FOR; );
  }

  /** false: nothing waits any more, or it cannot be written now. */
  function writeSome(): boolean {
    if (database.restsUntil > performance.now()) return false;
    const sessions = waiting.values().take(WRITE_MAX).toArray();
    const written = database.use("write", (store) => {
      store.write(sessions);
      clock ??= new RetentionClock(store.newest(), Date.now(), performance.now());
      const now = clock.now(Date.now(), performance.now());
      store.forget(now - options.keepAge, options.keepSessions, sessions.length);
      return true;
    });
    if (!written) return false;
    for (const session of sessions) waiting.delete(session.id);
    return waiting.size > 0;
  }

  function flush(): void {
    while (writeSome());
  }

  /** The sessions that are not written yet. */
  function unwrittenOf(query: SessionQuery): Session[] {
    return [...waiting.values()].filter(({ end }) => end !== null).filter(compileQuery(query));
  }

  return {
    flush,
    record(sessions) {
      for (const session of sessions) {
        // Moved to the end: the record that has waited longest is written first, and lost first.
        waiting.delete(session.id);
        waiting.set(session.id, session);
        if (waiting.size > WAITING_MAX) waiting.delete(waiting.keys().next().value!);
      }
    },
    find: (id) => waiting.get(id) ?? database.use("read", (store) => store.find(id)),
    pages(query, limit) {
      const unwritten = newestFirst(unwrittenOf(query));
      const ids = new Set(waiting.keys());
      const slices = slicesOf(database, query, limit + ids.size);
      const first = slices.next().value ?? [];
      async function* read() {
        for (let numbers: readonly number[] | undefined = first; numbers; numbers = slices.next().value) {
          for (let at = 0; at < numbers.length; at += PAGE) {
            const some = numbers.slice(at, at + PAGE);
            const records = database.use("read", (store) => store.records(some)) ?? [];
            const written = records.filter(({ id }) => !ids.has(id));
            const end = written.at(-1);
            const newer = end ? unwritten.findLastIndex((one) => compareSessions(one, end) < 0) + 1 : 0;
            yield* inParts(newestFirst([...unwritten.splice(0, newer), ...written]));
          }
          await setImmediate();
        }
        yield* inParts(unwritten);
      }
      return read();
    },
    async *since(since) {
      const unwritten = unwrittenOf({ since });
      const ids = new Set(waiting.keys());
      const steps = database.use("read", (store) => store.since(since));
      for (;;) {
        const step = steps && database.use("read", () => steps.next());
        if (!step || step.done) break;
        yield step.value.filter(({ end, id }) => end !== null && !ids.has(id));
        await setImmediate();
      }
      yield* inParts(unwritten);
    },
    info: () => database.info(),
    close() {
      clearInterval(timer);
      flush();
      database.close();
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

/** The numbers of the sessions that a search finds: at once, or so many at a time that reading their records holds up nothing else. */
function* slicesOf(database: Database, query: SessionQuery, limit: number): Generator<readonly number[], undefined> {
  if (!readsRecords(query)) {
    yield database.use("read", (store) => store.numbers(query, limit)) ?? [];
    return undefined;
  }
  // Whatever began later need not be looked at.
  let after = query.after ?? (query.until === undefined ? undefined : { start: query.until, id: "" });
  for (let room = limit; room > 0; ) {
    const slice = { ...query, after };
    const end = database.use("read", (store) => store.endOf(slice, SLICE));
    const numbers = database.use("read", (store) => store.numbers(slice, room, end)) ?? [];
    yield numbers;
    if (!end || end.start < (query.since ?? 0)) return undefined;
    after = end;
    room -= numbers.length;
  }
  return undefined;
}

/** The database: opened when it is used, moved aside when it is damaged, closed when the disk fails. */
class Database {
  readonly #file: string;
  readonly #log: HistoryOptions["log"];
  #store: HistoryStore | undefined;
  #wasOpen = false;
  #stopped: { readonly reason: string; readonly since: number; readonly pause: number } | undefined;
  #resumed = Number.NEGATIVE_INFINITY;

  constructor({ file, log }: HistoryOptions) {
    this.#file = file;
    this.#log = log;
    this.use("open", () => undefined);
  }

  /** ms on the clock of `performance`: after a failure, writing is not tried again before. */
  get restsUntil(): number {
    return this.#stopped ? this.#stopped.since + this.#stopped.pause : 0;
  }

  /** Undefined: the database cannot be used now. The log says why. */
  use<T>(action: "open" | "read" | "write", act: (store: HistoryStore) => T): T | undefined {
    for (let tries = 0; tries < 2; tries++) {
      try {
        // Only at the node's start are the recorded live sessions those of another run.
        this.#store ??= openStore(this.#file, !this.#wasOpen);
        this.#wasOpen = true;
        const result = act(this.#store);
        if (action === "write") this.#resume();
        return result;
      } catch (error) {
        this.close();
        const reason = error instanceof Error ? error.message : String(error);
        const movedAside = isUnusable(error) && tries === 0 && moveAside(this.#file);
        const failure = `Cannot ${action} the history ${this.#file}: ${reason}`;
        if (movedAside) this.#log.warn(`${failure}. The file was moved aside, and the node begins a new one`);
        else return this.#stop(action, reason, failure);
      }
    }
    return undefined;
  }

  #resume(): void {
    if (!this.#stopped) return;
    this.#log.info("The history goes on: the database can be written again");
    this.#stopped = undefined;
    this.#resumed = performance.now();
  }

  #stop(action: string, reason: string, failure: string): undefined {
    if (!this.#stopped) this.#log.warn(`${failure}. The history stops; sessions go on`);
    const since = performance.now();
    const pause = this.#stopped?.pause ?? (since - this.#resumed < RETRY.lasting ? RETRY.relapsed : RETRY.after);
    if (!this.#stopped || action === "write") this.#stopped = { reason, since, pause };
  }

  info(): HistoryInfo {
    const state = this.#stopped ? "stopped" : "running";
    return { state, reason: this.#stopped?.reason, sessions: this.#store?.size ?? 0 };
  }

  close(): void {
    this.#store?.close();
    this.#store = undefined;
  }
}

function moveAside(file: string): boolean {
  if (file === ":memory:") return false;
  const aside = `${file}.unusable-${new Date().toISOString().replaceAll(":", "-")}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      renameSync(file + suffix, aside + suffix);
    } catch {
      if (suffix === "") return false;
    }
  }
  return true;
}
