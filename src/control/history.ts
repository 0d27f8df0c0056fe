import { renameSync } from "node:fs";
import type { SessionQuery } from "../sessions/search.ts";
import type { Session } from "../sessions/session.ts";
import type { HistoryInfo } from "./api.ts";
import { type HistoryStore, isUnusable, openStore } from "./history-store.ts";

export interface HistoryOptions {
  /** Made when absent, with mode 0600. ":memory:" for a history that ends with the node. */
  readonly file: string;
  /** ms; sessions that ended longer ago are forgotten. */
  readonly keepAge: number;
  /** The oldest above this number are forgotten. */
  readonly keepSessions: number;
  readonly log: { info(message: string): void; warn(message: string): void };
}

/** The sessions that were. It never throws: when the disk fails, history stops and sessions go on. */
export interface History {
  /** Keeps these records, each replacing the one with its id. Written within a second, all in one transaction. */
  record(sessions: Iterable<Session>): void;
  /** Writes what waits and forgets a little of what is too old. `record` sees to it by itself. */
  flush(): void;
  find(id: string): Session | undefined;
  /** Sessions that are over, newest first; what waits is written before. */
  search(query: SessionQuery, limit: number): readonly Session[];
  info(): HistoryInfo;
  close(): void;
}

const FLUSH_EVERY = 1000;
const RETRY_AFTER = 30_000;
/** Bounds what waits while the disk fails. */
const WAITING_MAX = 10_000;

/** Opens or begins the history. A database that cannot be used is moved aside. */
export function openHistory(options: HistoryOptions): History {
  const { log } = options;
  const waiting = new Map<string, Session>();
  let store: HistoryStore | undefined;
  let stopped: { readonly reason: string; readonly since: number } | undefined;
  attempt("open", () => undefined);
  const timer = setInterval(flush, FLUSH_EVERY);
  timer.unref();

  /** One use of the database: opened when it is not, moved aside when corrupt, let go when the disk fails. */
  function attempt<T>(action: string, use: (store: HistoryStore) => T): T | undefined {
    for (let tries = 0; tries < 2; tries++) {
      try {
        store ??= openStore(options.file);
        const result = use(store);
        if (stopped) log.info("The history goes on");
        stopped = undefined;
        return result;
      } catch (error) {
        store?.close();
        store = undefined;
        const reason = error instanceof Error ? error.message : String(error);
        if (isUnusable(error) && tries === 0 && moveAside(options.file)) {
          log.warn(
            `Cannot ${action} the history ${options.file}: ${reason}; it was moved aside and a new one is begun`,
          );
          continue;
        }
        if (!stopped) log.warn(`Cannot ${action} the history ${options.file}: ${reason}; it stops, sessions go on`);
        stopped = { reason, since: Date.now() };
        return undefined;
      }
    }
    return undefined;
  }

  function usable(): boolean {
    return !stopped || Date.now() - stopped.since >= RETRY_AFTER;
  }

  function flush(): void {
    if (!usable()) return;
    const sessions = [...waiting.values()];
    const written = attempt("write", (open) => {
      open.write(sessions);
      open.forget(Date.now() - options.keepAge, options.keepSessions);
      return true;
    });
    if (!written) return;
    for (const session of sessions) if (waiting.get(session.id) === session) waiting.delete(session.id);
  }

  return {
    flush,
    record(sessions) {
      for (const session of sessions) {
        waiting.set(session.id, session);
        if (waiting.size > WAITING_MAX) waiting.delete(waiting.keys().next().value!);
      }
    },
    find(id) {
      return waiting.get(id) ?? (usable() ? attempt("read", (open) => open.find(id)) : undefined);
    },
    search(query, limit) {
      if (waiting.size > 0) flush();
      return (usable() ? attempt("read", (open) => open.search(query, limit)) : undefined) ?? [];
    },
    info: () => ({ state: stopped ? "stopped" : "running", reason: stopped?.reason, sessions: store?.size() ?? 0 }),
    close() {
      clearInterval(timer);
      flush();
      store?.close();
      store = undefined;
    },
  };
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
