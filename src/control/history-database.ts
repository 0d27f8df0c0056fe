import { renameSync } from "node:fs";
import type { Session } from "../sessions/record.ts";
import type { Position, SessionQuery } from "../sessions/search.ts";
import type { HistoryInfo } from "./api.ts";
import { isUnusable, placeOf } from "./database.ts";
import type { SessionRow } from "./history-schema.ts";
import { type HistoryStore, openStore } from "./history-store.ts";
import { RetentionClock } from "./retention-clock.ts";

/** What is asked of the history's thread. Each answer says how the database does. */
export interface HistoryCalls {
  /** Writes these records, and removes some of those that are too old or too many. undefined: it cannot be written now. */
  write(rows: readonly SessionRow[], keep: Keep): Report<true>;
  find(id: string): Report<Session | undefined>;
  /** The other reads are those of the store. */
  numbers(query: SessionQuery, limit: number, until?: Position): Report<readonly number[]>;
  endOf(query: SessionQuery, count: number): Report<Position | undefined>;
  records(numbers: readonly number[]): Report<readonly Session[]>;
  behind(position: Position): Report<readonly Session[]>;
  info(): Report<undefined>;
  close(): void;
}

/** What is kept, and the clocks of this moment: the machine's, and one that nobody sets. */
export interface Keep {
  readonly age: number;
  readonly sessions: number;
  readonly wall: number;
  readonly passed: number;
}

export interface Report<Value> {
  /** undefined: the database cannot be used now. */
  readonly value: Value | undefined;
  readonly info: HistoryInfo;
  /** ms until writing is tried again; 0: it can be written. */
  readonly rests: number;
  /** For the log. */
  readonly said: readonly { readonly level: "info" | "warn"; readonly text: string }[];
}

/** After a failure, writing is tried again: less often when the last success did not last. In ms. */
const RETRY = { after: 5_000, relapsed: 30_000, lasting: 60_000 };

/** Opens the database in the thread of this call. Throws nothing. */
export function serveHistory(file: string): HistoryCalls {
  const database = new Database(file);
  let clock: RetentionClock | undefined;
  const read = <Value>(act: (store: HistoryStore) => Value) => database.report(database.use("read", act));
  return {
    write(rows, { age, sessions: most, wall, passed }) {
      const written = database.use("write", (store) => {
        store.write(rows);
        clock ??= new RetentionClock(store.newest(), wall, passed);
        store.forget(clock.now(wall, passed) - age, most, rows.length);
        return true as const;
      });
      return database.report(written);
    },
    find: (id) => read((store) => store.find(id)),
    numbers: (query, limit, until) => read((store) => store.numbers(query, limit, until)),
    endOf: (query, count) => read((store) => store.endOf(query, count)),
    records: (numbers) => read((store) => store.records(numbers)),
    behind: (position) => read((store) => store.behind(position)),
    info: () => database.report(undefined),
    close: () => database.close(),
  };
}

/** The database: opened when it is used, moved aside when it is damaged, closed when the disk fails. */
class Database {
  readonly #file: string;
  readonly #said: Report<unknown>["said"][number][] = [];
  #store: HistoryStore | undefined;
  /** The file that is open. */
  #place: string | undefined;
  #wasOpen = false;
  #stopped: { readonly reason: string; readonly since: number; readonly pause: number } | undefined;
  #resumed = Number.NEGATIVE_INFINITY;

  constructor(file: string) {
    this.#file = file;
    this.use("open", () => undefined);
  }

  report<Value>(value: Value | undefined): Report<Value> {
    const stopped = this.#stopped;
    const rests = stopped ? Math.max(0, stopped.since + stopped.pause - performance.now()) : 0;
    const state = stopped ? "stopped" : "running";
    const info = { state, reason: stopped?.reason, sessions: this.#store?.size ?? 0 } as const;
    return { value, info, rests, said: this.#said.splice(0) };
  }

  /** Undefined: the database cannot be used now. The log says why. */
  use<T>(action: "open" | "read" | "write", act: (store: HistoryStore) => T): T | undefined {
    for (let tries = 0; tries < 2; tries++) {
      try {
        if (this.#store && this.#place !== placeOf(this.#file)) this.#lose();
        // Only at the node's start are the recorded live sessions those of another run.
        this.#store ??= openStore(this.#file, !this.#wasOpen);
        this.#wasOpen = true;
        this.#place ??= placeOf(this.#file);
        const result = act(this.#store);
        if (action === "write") this.#resume();
        return result;
      } catch (error) {
        this.close();
        const reason = error instanceof Error ? error.message : String(error);
        const movedAside = isUnusable(error) && tries === 0 && moveAside(this.#file);
        const failure = `Cannot ${action} the history ${this.#file}: ${reason}`;
        if (movedAside) this.#say("warn", `${failure}. The file was moved aside, and the node begins a new one`);
        else return this.#stop(action, reason, failure);
      }
    }
    return undefined;
  }

  #resume(): void {
    if (!this.#stopped) return;
    this.#say("info", "The history goes on: the database can be written again");
    this.#stopped = undefined;
    this.#resumed = performance.now();
  }

  #stop(action: string, reason: string, failure: string): undefined {
    if (!this.#stopped) this.#say("warn", `${failure}. The history stops; sessions go on`);
    const since = performance.now();
    const pause = this.#stopped?.pause ?? (since - this.#resumed < RETRY.lasting ? RETRY.relapsed : RETRY.after);
    if (!this.#stopped || action === "write") this.#stopped = { reason, since, pause };
  }

  /** Somebody has moved the file away, or put another one in its place. */
  #lose(): void {
    this.close();
    this.#say("warn", `The history ${this.#file} was moved or removed; the node goes on with what is there now`);
  }

  #say(level: "info" | "warn", text: string): void {
    this.#said.push({ level, text });
  }

  close(): void {
    this.#store?.close();
    this.#store = undefined;
    this.#place = undefined;
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
