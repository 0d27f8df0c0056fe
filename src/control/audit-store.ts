import type { DatabaseSync } from "node:sqlite";
import type { AuditEntry } from "./api.ts";
import { isUnusable, openDatabase, placeOf, transaction } from "./database.ts";
import { RetentionClock } from "./retention-clock.ts";

/**
 * Two tables that only grow: what was begun, and how it ended. The triggers keep a mistake, here or in another program, from changing
 * an entry, and from removing any but the oldest.
 */
const MIGRATIONS = [
  `CREATE TABLE entries (
     number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, who TEXT NOT NULL, role TEXT NOT NULL, address TEXT,
     action TEXT NOT NULL, subject TEXT) STRICT;
   CREATE TABLE outcomes (
     entry INTEGER PRIMARY KEY, time INTEGER NOT NULL, outcome TEXT NOT NULL, detail TEXT) STRICT;
   CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
   CREATE TRIGGER outcomes_stay BEFORE UPDATE ON outcomes
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
   CREATE TRIGGER entries_are_not_replaced BEFORE INSERT ON entries
     WHEN EXISTS (SELECT 1 FROM entries WHERE number = NEW.number)
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
   CREATE TRIGGER outcomes_are_not_replaced BEFORE INSERT ON outcomes
     WHEN EXISTS (SELECT 1 FROM outcomes WHERE entry = NEW.entry)
     BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
   CREATE TRIGGER entries_go_in_order BEFORE DELETE ON entries
     WHEN OLD.number > (SELECT min(number) FROM entries)
     BEGIN SELECT RAISE(ABORT, 'the audit log loses only its oldest entries'); END;
   CREATE TRIGGER outcomes_go_with_entries BEFORE DELETE ON outcomes
     WHEN EXISTS (SELECT 1 FROM entries WHERE number = OLD.entry)
     BEGIN SELECT RAISE(ABORT, 'the audit log loses only its oldest entries'); END;`,
];

/** The most entries that go with one that comes. */
const FORGET_STEP = 100;

/** Which entries to find. What is left out may have any value. */
export interface AuditQuery {
  /** ms since the epoch. */
  readonly since?: number | undefined;
  readonly who?: string | undefined;
  /** An action, or its first word: "ca" is every step of a CA. */
  readonly action?: string | undefined;
  /** Only entries older than the one with this number. */
  readonly before?: number | undefined;
}

/** An entry that is not written yet. */
export type Begun = Omit<AuditEntry, "number" | "outcome" | "detail">;
export type Ending = Pick<AuditEntry, "outcome" | "detail"> & { readonly time: number };

/** What is asked of the audit log's thread. Every call throws what SQLite throws. */
export interface AuditCalls {
  /** Reads a log that there is. */
  check(): void;
  /** Returns the entry's number. */
  begin(begun: Begun): number;
  /** Writes its end. Some of the entries that are too old or too many go. */
  end(number: number, ending: Ending, keep: AuditKeep): void;
  /** Writes an entry with its end. Others go as with `end`. */
  note(begun: Begun, ending: Ending, keep: AuditKeep): void;
  /** Newest first. */
  search(query: AuditQuery, limit: number): AuditEntry[];
  close(): void;
}

/** What is kept, and the clocks of this moment: the machine's, and one that nobody sets. */
interface AuditKeep {
  /** ms. */
  readonly age: number;
  readonly entries: number;
  readonly wall: number;
  readonly passed: number;
}

/** A new database is made with the first entry, and one is opened again after each failure: what stood in its way may be gone. */
export function serveAudit(file: string): AuditCalls {
  let open: { readonly store: AuditStore; readonly place: string } | undefined;
  let clock: RetentionClock | undefined;

  function close(): void {
    open?.store.close();
    open = undefined;
  }

  function use<T>(act: (store: AuditStore) => T): T {
    try {
      // A log that somebody moved away is begun anew; entries of a file without a name would be lost.
      if (open && open.place !== placeOf(file)) close();
      if (!open) {
        const store = new AuditStore(file);
        open = { store, place: placeOf(file) };
      }
      return act(open.store);
    } catch (error) {
      close();
      if (!isUnusable(error)) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`${why}. Restore it, or move it away: then a new one begins`, { cause: error });
    }
  }

  function forget(store: AuditStore, { age, entries, wall, passed }: AuditKeep): void {
    clock ??= new RetentionClock(store.newest() ?? wall, wall, passed);
    store.forget(clock.now(wall, passed) - age, entries);
  }

  return {
    check() {
      if (placeOf(file) !== "") use((store) => store.newest());
    },
    begin: (begun) => use((store) => store.write(begun)),
    end: (number, ending, keep) =>
      use((store) => {
        store.end(number, ending);
        forget(store, keep);
      }),
    note: (begun, ending, keep) =>
      use((store) => {
        store.write(begun, ending);
        forget(store, keep);
      }),
    search: (query, limit) => use((store) => store.search(query, limit)),
    close,
  };
}

/** The audit log in SQLite. Every method throws what SQLite throws. */
class AuditStore {
  readonly #database: DatabaseSync;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(file: string) {
    // The history waits for the same thread.
    this.#database = openDatabase(file, { migrations: MIGRATIONS, timeout: 250, synchronous: "FULL" });
    this.#sql = prepare(this.#database);
  }

  /** Writes the entry, with its end when that is known. Returns its number. */
  write({ time, who, role, address, action, subject }: Begun, ending?: Ending): number {
    return transaction(this.#database, () => {
      const { lastInsertRowid } = this.#sql.insert.run(time, who, role, address, action, subject);
      if (ending) this.#sql.end.run(lastInsertRowid, ending.time, ending.outcome, ending.detail);
      return Number(lastInsertRowid);
    });
  }

  end(number: number, { time, outcome, detail }: Ending): void {
    this.#sql.end.run(number, time, outcome, detail);
  }

  /** Newest first. */
  search({ since, who, action, before }: AuditQuery, limit: number): AuditEntry[] {
    const conditions: [string, number | string | undefined][] = [
      ["entries.time >= ?", since],
      ["who = ?", who],
      ["(action || ' ') LIKE ? ESCAPE '\\'", action && `${action.replaceAll(/[%_\\]/g, "\\$&")} %`],
      ["number < ?", before],
    ];
    const given = conditions.filter((pair): pair is [string, number | string] => pair[1] !== undefined);
    const where = given.map(([condition]) => condition).join(" AND ") || "TRUE";
    const rows = this.#database.prepare(
      `SELECT number, entries.time, who, role, address, action, subject, coalesce(outcome, 'begun') AS outcome, detail
       FROM entries LEFT JOIN outcomes ON entry = number WHERE ${where} ORDER BY number DESC LIMIT ?`,
    );
    // STRICT tables, which only this class writes.
    return rows.all(...given.map(([, value]) => value), limit) as unknown as AuditEntry[];
  }

  /** The latest time on record, in ms since the epoch; undefined without any. */
  newest(): number | undefined {
    const time = this.#database.prepare("SELECT time FROM entries ORDER BY number DESC LIMIT 1").get()?.["time"];
    return time === undefined ? undefined : Number(time);
  }

  /** Removes some of the entries that are older than this time (ms since the epoch), and of the oldest above `keep`. */
  forget(before: number, keep: number): void {
    const { first, last } = this.#sql.ends.get() ?? {};
    const oldest = Number(first ?? 0);
    const surplus = Number(last ?? -1) - oldest + 1 - keep;
    const aged = Number(this.#sql.aged.get(before)?.["n"] ?? 0);
    const count = Math.min(Math.max(surplus, aged), FORGET_STEP);
    if (count <= 0) return;
    transaction(this.#database, () => {
      for (let number = oldest; number < oldest + count; number++) {
        this.#sql.removeEntry.run(number);
        this.#sql.removeOutcome.run(number);
      }
    });
  }

  close(): void {
    this.#database.close();
  }
}

function prepare(database: DatabaseSync) {
  return {
    insert: database.prepare(
      "INSERT INTO entries (time, who, role, address, action, subject) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    end: database.prepare("INSERT INTO outcomes (entry, time, outcome, detail) VALUES (?, ?, ?, ?)"),
    ends: database.prepare("SELECT min(number) AS first, max(number) AS last FROM entries"),
    // Of the oldest ones only: a clock that was set back leaves older times behind newer ones.
    aged: database.prepare(
      `SELECT count(*) AS n FROM (SELECT time FROM entries ORDER BY number LIMIT ${FORGET_STEP}) WHERE time < ?`,
    ),
    removeEntry: database.prepare("DELETE FROM entries WHERE number = ?"),
    removeOutcome: database.prepare("DELETE FROM outcomes WHERE entry = ?"),
  };
}
