import { chmodSync, closeSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** Files of SQLite in the data folder: only the node's user can read them. */

/** SQL, or what SQL cannot do. */
export type Migration = string | ((database: DatabaseSync) => void);

interface OpenOptions {
  /** Each entry takes the database from one `user_version` to the next. An entry is never changed, only added. */
  readonly migrations: readonly Migration[];
  /** How long to wait for another program that holds the file, in ms: meanwhile the thread does nothing else. */
  readonly timeout: number;
  /** FULL: what is committed survives a power cut. NORMAL: the last of it may be lost. */
  readonly synchronous: "NORMAL" | "FULL";
}

/** Opens or makes the database; ":memory:" for one that is not on disk. Throws what SQLite and the file system throw. */
export function openDatabase(file: string, { migrations, timeout, synchronous }: OpenOptions): DatabaseSync {
  if (file !== ":memory:") {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    closeSync(openSync(file, "a", 0o600));
    chmodSync(file, 0o600);
  }
  const database = new DatabaseSync(file, { timeout });
  try {
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${synchronous}`);
    migrate(database, migrations);
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

function migrate(database: DatabaseSync, migrations: readonly Migration[]): void {
  const version = Number(database.prepare("PRAGMA user_version").get()!["user_version"]);
  if (version > migrations.length)
    throw new UnknownSchema(`a later version of the node has written it (schema ${version})`);
  if (version === migrations.length) return;
  transaction(database, () => {
    for (const step of migrations.slice(version)) {
      if (typeof step === "string") database.exec(step);
      else step(database);
    }
    database.exec(`PRAGMA user_version = ${migrations.length}`);
  });
}

/** Which file is there now, "" for none: what is written to one that was moved away while it is open may be lost. */
export function placeOf(file: string): string {
  if (file === ":memory:") return file;
  const found = statSync(file, { throwIfNoEntry: false });
  return found ? `${found.dev}:${found.ino}` : "";
}

export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    // After SQLITE_FULL and the like, SQLite has rolled back already.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

/** Whether this error means that the file is not a usable database. Other errors may pass, such as a full disk or a lock. */
export function isUnusable(error: unknown): boolean {
  if (error instanceof UnknownSchema || error instanceof SyntaxError) return true;
  const code = error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : 0;
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
}

/** sqlite.org/rescode.html */
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

class UnknownSchema extends Error {}
