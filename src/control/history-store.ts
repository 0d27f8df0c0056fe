import type { DatabaseSync } from "node:sqlite";
import { Cache, ENTRY_BYTES } from "../cache.ts";
import { bounded } from "../sessions/bounds.ts";
import { compileClient } from "../sessions/client-pattern.ts";
import { LIVE, outcomeOf } from "../sessions/outcome.ts";
import type { Session } from "../sessions/record.ts";
import { compileHost, compileSubject, hostsOf, namedHostsOf, type SessionQuery } from "../sessions/search.ts";
import { finish } from "../sessions/session.ts";
import { openDatabase, transaction } from "./database.ts";

/** Each entry takes the database from one `user_version` to the next. An entry is never changed, only added. */
const MIGRATIONS = [
  `CREATE TABLE sessions (
     number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, start INTEGER NOT NULL, ended INTEGER, listener TEXT NOT NULL,
     client TEXT NOT NULL, state TEXT NOT NULL, verdict TEXT, record TEXT NOT NULL) STRICT;
   CREATE INDEX sessions_start ON sessions (start);
   CREATE INDEX sessions_ended ON sessions (ended);
   CREATE TABLE hosts (number INTEGER PRIMARY KEY, host TEXT NOT NULL UNIQUE) STRICT;
   CREATE TABLE session_hosts (
     host INTEGER NOT NULL, session INTEGER NOT NULL, PRIMARY KEY (host, session)) STRICT, WITHOUT ROWID;
   CREATE INDEX session_hosts_session ON session_hosts (session);`,
  "CREATE INDEX sessions_client ON sessions (client, start)",
  `ALTER TABLE sessions ADD COLUMN subject TEXT;
   UPDATE sessions SET subject = json_extract(record, '$.certificate.subject');
   CREATE INDEX sessions_subject ON sessions (subject);`,
];

/** Each value of this column once. It jumps through the index from one value to the next instead of reading all sessions. */
const distinct = (column: "client" | "subject") => `
  WITH RECURSIVE found (value) AS (
    SELECT min(${column}) FROM sessions
    UNION ALL
    SELECT (SELECT min(${column}) FROM sessions WHERE ${column} > found.value) FROM found WHERE value IS NOT NULL)
  SELECT value FROM found WHERE value IS NOT NULL`;

/** The most sessions that one call of `forget` removes beyond twice those that were just written: what goes is gone. */
const FORGET_STEP = 50;
/** The most sessions that `since` reads at once. */
const READ_STEP = 500;
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

  /** Writes these records; one with a known id replaces the earlier record. */
  write(sessions: readonly Session[]): void {
    if (sessions.length === 0) return;
    let added = 0;
    transaction(this.#database, () => {
      for (const session of sessions) {
        if (!this.#sql.known.get(session.id)) added += 1;
        const { id, start, end, listener, client, state, verdict } = session;
        const record = JSON.stringify(session);
        const address = client.address.toLowerCase();
        const subject = session.certificate?.subject ?? null;
        const { number } = this.#sql.insert.get(id, start, end, listener, address, state, verdict, subject, record)!;
        for (const host of hostsOf(session)) this.#sql.linkHost.run(this.#numberOf(host), number!);
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

  /** Sessions that are over, newest first. */
  search(query: SessionQuery, limit: number): Session[] {
    const { where, values } = conditionsOf(query);
    const rows = this.#database.prepare(`SELECT record FROM sessions WHERE ${where} ORDER BY start DESC LIMIT ?`);
    return rows.all(...values, limit).map(recordOf);
  }

  /** The numbers of the sessions that `search` would find, for `records`. */
  numbers(query: SessionQuery, limit: number): readonly number[] {
    const { where, values } = conditionsOf(query);
    const rows = this.#database.prepare(`SELECT number FROM sessions WHERE ${where} ORDER BY start DESC LIMIT ?`);
    return rows.all(...values, limit).map((row) => Number(row["number"]));
  }

  /** The sessions with these numbers; those that were removed meanwhile are left out. */
  records(numbers: readonly number[]): Session[] {
    return numbers.flatMap((number) => this.#sql.byNumber.all(number)).map(recordOf);
  }

  /** All sessions that began at `since` (ms since the epoch) or later, some at a time; live ones as they were written last. */
  *since(since: number): Generator<readonly Session[]> {
    const read = this.#database.prepare(
      "SELECT number, record FROM sessions WHERE start >= ? AND number > ? ORDER BY number LIMIT ?",
    );
    for (let last = 0; ; ) {
      const rows = read.all(since, last, READ_STEP);
      const end = rows.at(-1);
      if (!end) return;
      yield rows.map(recordOf);
      last = Number(end["number"]);
    }
  }

  close(): void {
    this.#database.close();
  }
}

function prepare(database: DatabaseSync) {
  return {
    insert: database.prepare(
      `INSERT INTO sessions (id, start, ended, listener, client, state, verdict, subject, record)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, state = excluded.state, verdict = excluded.verdict,
         subject = excluded.subject, record = excluded.record
       RETURNING number`,
    ),
    known: database.prepare("SELECT 1 FROM sessions WHERE id = ?"),
    findHost: database.prepare("SELECT number FROM hosts WHERE host = ?"),
    addHost: database.prepare("INSERT INTO hosts (host) VALUES (?)"),
    linkHost: database.prepare("INSERT INTO session_hosts (host, session) VALUES (?, ?) ON CONFLICT DO NOTHING"),
    byId: database.prepare("SELECT record FROM sessions WHERE id = ?"),
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
  addMatcher(database, "host_matches", (query) => compileHost(query).matches);
  addMatcher(database, "sni_matches", (query) => {
    const { matches } = compileHost(query);
    return (sni) => namedHostsOf({ sni, connectHost: null }).some(matches);
  });
  addMatcher(database, "subject_matches", compileSubject);
  addMatcher(database, "client_matches", (query) => compileClient(query)?.matches ?? (() => false));
  return database;
}

/** The live table's own comparison, as a function of SQL: a search means the same for live and for closed sessions. */
function addMatcher(database: DatabaseSync, name: string, compile: (query: string) => (text: string) => boolean): void {
  let last: { readonly query: string; readonly matches: (text: string) => boolean } | undefined;
  database.function(name, { deterministic: true }, (query, text) => {
    if (last?.query !== query) last = { query: String(query), matches: compile(String(query)) };
    return text !== null && last.matches(String(text)) ? 1 : 0;
  });
}

function closeAbandoned(database: DatabaseSync): void {
  const close = database.prepare("UPDATE sessions SET ended = ?, record = ? WHERE id = ?");
  const abandoned = database.prepare("SELECT record FROM sessions WHERE ended IS NULL").all().map(recordOf);
  if (abandoned.length === 0) return;
  transaction(database, () => {
    for (const session of abandoned) {
      const closed = finish(session, "The node ended before this session's end was recorded", session.lastActivity, {
        by: "node",
        code: "nodeEnded",
      });
      close.run(closed.end, JSON.stringify(closed), closed.id);
    }
  });
}

function conditionsOf(query: SessionQuery): { where: string; values: (string | number)[] } {
  const where = ["ended IS NOT NULL"];
  const values: (string | number)[] = [];
  const add = (condition: string, ...given: (string | number)[]) => {
    where.push(condition);
    values.push(...given);
  };
  if (query.verdict === "none") add("verdict IS NULL");
  else if (query.verdict !== undefined) add("verdict = ?", query.verdict);
  if (query.listener !== undefined) add("listener = ?", query.listener);
  if (query.client !== undefined) {
    const addresses = compileClient(query.client)?.addresses;
    if (addresses) add(`client IN (${addresses.map(() => "?").join(", ")})`, ...addresses);
    else add(`client IN (${distinct("client")} AND client_matches(?, value))`, query.client);
  }
  if (query.state !== undefined) {
    const state = query.state.toUpperCase();
    add("(state = ? OR substr(state, 1, ?) = ?)", state, state.length + 1, `${state}:`);
  }
  if (query.subject !== undefined) {
    add(`subject IN (${distinct("subject")} AND subject_matches(?, value))`, query.subject);
  }
  for (const host of [query.host, query.sni].filter((host) => host !== undefined)) {
    const { names } = compileHost(host);
    const match = names ? `host IN (${names.map(() => "?").join(", ")})` : "host_matches(?, host)";
    const linked = `SELECT session FROM session_hosts WHERE host IN (SELECT number FROM hosts WHERE ${match})`;
    add(`number IN (${linked})`, ...(names ?? [host]));
  }
  if (query.sni !== undefined) {
    const named = "sni_matches(?, record ->> ?)";
    add(`(${named} OR ${named})`, query.sni, "$.sni", query.sni, "$.connectHost");
  }
  return { where: where.join(" AND "), values };
}

function recordOf(row: Record<string, unknown>): Session {
  // Earlier versions recorded every name of a certificate, and no outcome.
  const session: Session = bounded(JSON.parse(String(row["record"])));
  if (session.outcome !== undefined) return session;
  return { ...session, ...(session.end === null ? LIVE : outcomeOf(session, undefined)) };
}
