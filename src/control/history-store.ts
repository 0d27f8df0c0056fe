import type { DatabaseSync } from "node:sqlite";
import { Cache, ENTRY_BYTES } from "../cache.ts";
import type { Session } from "../sessions/record.ts";
import type { Position, SessionQuery } from "../sessions/search.ts";
import { finish } from "../sessions/session.ts";
import { openDatabase, transaction } from "./database.ts";
import { addMatchers, conditionsOf } from "./history-query.ts";
import { MIGRATIONS, recordOf, type SessionRow } from "./history-schema.ts";

/** The most sessions that one call of `forget` removes beyond twice those that were just written: what goes is gone. */
const FORGET_STEP = 50;
const ORDER = "ORDER BY start DESC, id DESC";
/** The most sessions that `behind` reads. */
const READ_STEP = 100;
const HOST_NUMBERS_MAX = 20_000;

/**
 * Opens or makes the database; ":memory:" for one that is not on disk. With `closing`, sessions that are recorded as live are
 * closed, because the node that recorded them has ended. Throws what SQLite and the file system throw.
 */
export function openStore(file: string, closing: boolean): HistoryStore {
  return new HistoryStore(openHistoryFile(file, closing));
}

/** Sessions in SQLite. A failed transaction leaves the store unusable: close it, and open another. */
export class HistoryStore {
  readonly #database: DatabaseSync;
  readonly #sql: ReturnType<typeof prepare>;
  /** The numbers of hosts that were written lately: most sessions are with a host of an earlier one. */
  readonly #hostNumbers = new Cache<number | bigint>({
    ...{ entries: HOST_NUMBERS_MAX, bytes: HOST_NUMBERS_MAX * 2 * ENTRY_BYTES },
    sizeOf: () => 8,
  });
  #size: number;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#sql = prepare(database);
    this.#size = Number(database.prepare("SELECT count(*) AS n FROM sessions").get()!["n"]);
  }

  /** How many sessions there are. */
  get size(): number {
    return this.#size;
  }

  /** Writes these sessions; one with a known id replaces the earlier record. */
  write(rows: readonly SessionRow[]): void {
    if (rows.length === 0) return;
    const { known, insert, update, linkHost } = this.#sql;
    let added = 0;
    transaction(this.#database, () => {
      for (const { id, birth, rest, hosts } of rows) {
        let number = known.get(id)?.["number"];
        if (number === undefined) {
          number = insert.run(id, ...birth, ...rest).lastInsertRowid;
          added += 1;
        } else update.run(...rest, number);
        for (const host of hosts) linkHost.run(this.#numberOf(host), number);
      }
    });
    this.#size += added;
  }

  #numberOf(host: string): number | bigint {
    const known = this.#hostNumbers.find(host);
    if (known !== undefined) return known;
    const found = this.#sql.findHost.get(host)?.["number"] as number | undefined;
    const number = found ?? this.#sql.addHost.run(host).lastInsertRowid;
    this.#hostNumbers.keep(host, number);
    return number;
  }

  /** The latest time that is on record, in ms since the epoch. */
  newest(): number {
    const { start, ended } = this.#database
      .prepare("SELECT max(start) AS start, max(ended) AS ended FROM sessions")
      .get()!;
    // Without a session nothing can be removed.
    return Math.max(Number(start ?? 0), Number(ended ?? 0)) || Number.POSITIVE_INFINITY;
  }

  /**
   * Removes some of the sessions that ended before this time (ms since the epoch), and of the oldest above `keep`. `written`: how many
   * have just been written.
   */
  forget(before: number, keep: number, written: number): void {
    const { old, oldest, unlink, remove, removeHost } = this.#sql;
    const share = FORGET_STEP + 2 * written;
    const excess = Math.min(Math.max(this.#size - keep, 0), share);
    const rows = [...old.all(before, share), ...(excess > 0 ? oldest.all(excess) : [])];
    const numbers = new Set(rows.map((row) => Number(row["number"])));
    if (numbers.size === 0) return;
    transaction(this.#database, () => {
      for (const number of numbers) {
        const hosts = unlink.all(number);
        remove.run(number);
        for (const { host } of hosts) {
          const removed = removeHost.get(host!);
          if (removed) this.#hostNumbers.forget(String(removed["host"]));
        }
      }
    });
    this.#size -= numbers.size;
  }

  find(id: string): Session | undefined {
    const row = this.#sql.byId.get(id);
    return row && recordOf(row);
  }

  /** The numbers of sessions that are over, for `records`, in the order of lists. `until`: none behind this one is looked at. */
  numbers(query: SessionQuery, limit: number, until?: Position): readonly number[] {
    const { where, values } = conditionsOf(query);
    const bound = until ? " AND (start, id) >= (?, ?)" : "";
    const rows = this.#database.prepare(`SELECT number FROM sessions WHERE ${where}${bound} ${ORDER} LIMIT ?`);
    const given = until ? [...values, until.start, until.id] : values;
    return rows.all(...given, limit).map((row) => Number(row["number"]));
  }

  /** Where the next `count` sessions of any kind end. Undefined: there are fewer. */
  endOf({ after }: SessionQuery, count: number): Position | undefined {
    const where = after ? "WHERE (start, id) < (?, ?)" : "";
    const read = this.#database.prepare(`SELECT start, id FROM sessions ${where} ${ORDER} LIMIT 1 OFFSET ?`);
    const row = read.get(...(after ? [after.start, after.id] : []), count - 1);
    return row && { start: Number(row["start"]), id: String(row["id"]) };
  }

  /** The sessions with these numbers; those that were removed meanwhile are left out. */
  records(numbers: readonly number[]): Session[] {
    return numbers.flatMap((number) => this.#sql.byNumber.all(number)).map(recordOf);
  }

  /** The next sessions in the order of their starts, the oldest first; live ones as they were written last. */
  behind({ start, id }: Position): readonly Session[] {
    return this.#sql.behind.all(start, id, READ_STEP).map(recordOf);
  }

  close(): void {
    this.#database.close();
  }
}

function prepare(database: DatabaseSync) {
  return {
    // Not one statement with ON CONFLICT: SQLite then copies every page that it touches, to undo that statement alone.
    known: database.prepare("SELECT number FROM sessions WHERE id = ?"),
    insert: database.prepare(
      `INSERT INTO sessions (id, start, listener, client, ended, state, verdict, subject,
         server, outcome, cause, blame, rule, record)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    update: database.prepare(
      `UPDATE sessions SET ended = ?, state = ?, verdict = ?, subject = ?,
         server = ?, outcome = ?, cause = ?, blame = ?, rule = ?, record = ? WHERE number = ?`,
    ),
    findHost: database.prepare("SELECT number FROM hosts WHERE host = ?"),
    addHost: database.prepare("INSERT INTO hosts (host) VALUES (?)"),
    linkHost: database.prepare("INSERT INTO session_hosts (host, session) VALUES (?, ?) ON CONFLICT DO NOTHING"),
    byId: database.prepare("SELECT record FROM sessions WHERE id = ?"),
    behind: database.prepare("SELECT record FROM sessions WHERE (start, id) > (?, ?) ORDER BY start, id LIMIT ?"),
    byNumber: database.prepare("SELECT record FROM sessions WHERE number = ?"),
    old: database.prepare("SELECT number FROM sessions WHERE ended < ? ORDER BY ended LIMIT ?"),
    oldest: database.prepare("SELECT number FROM sessions WHERE ended IS NOT NULL ORDER BY start LIMIT ?"),
    unlink: database.prepare("DELETE FROM session_hosts WHERE session = ? RETURNING host"),
    remove: database.prepare("DELETE FROM sessions WHERE number = ?"),
    removeHost: database.prepare(
      `DELETE FROM hosts WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM session_hosts WHERE host = ?1)
       RETURNING host`,
    ),
  };
}

function openHistoryFile(file: string, closing: boolean): DatabaseSync {
  const database = openDatabase(file, { migrations: MIGRATIONS, timeout: 2000, synchronous: "NORMAL" });
  try {
    if (closing) closeAbandoned(database);
  } catch (error) {
    database.close();
    throw error;
  }
  addMatchers(database);
  return database;
}

function closeAbandoned(database: DatabaseSync): void {
  const close = database.prepare(
    "UPDATE sessions SET ended = ?, outcome = ?, cause = ?, blame = ?, record = ? WHERE id = ?",
  );
  const abandoned = database.prepare("SELECT record FROM sessions WHERE ended IS NULL").all().map(recordOf);
  if (abandoned.length === 0) return;
  transaction(database, () => {
    for (const session of abandoned) {
      const closed = finish(session, "The node ended before this session's end was recorded", session.lastActivity, {
        by: "node",
        code: "nodeEnded",
      });
      const { end, outcome, cause, blame, id } = closed;
      close.run(end, outcome, cause, blame, JSON.stringify(closed), id);
    }
  });
}
