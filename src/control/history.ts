import { renameSync } from "node:fs";
import type { Session } from "../sessions/record.ts";
import { compileQuery, type SessionQuery } from "../sessions/search.ts";
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
  /** Keeps these records, each replacing the one with its id. They are written within a second, many at once. */
  record(sessions: Iterable<Session>): void;
  /** Writes what waits and forgets a little of what is too old. `record` sees to it by itself. */
  flush(): void;
  find(id: string): Session | undefined;
  /** Sessions that are over, newest first; those that still wait to be written too. */
  search(query: SessionQuery, limit: number): readonly Session[];
  info(): HistoryInfo;
  close(): void;
}

const WRITE_EVERY = 250;
const RETRY_AFTER = 30_000;
/** One transaction's worth: the node's one supervisor has other things to do in between, minting above all. */
const WRITE_MAX = 250;
/** Bounds what waits while the disk fails. */
const WAITING_MAX = 10_000;

/** Opens or begins the history. A database that cannot be used is moved aside. */
export function openHistory(options: HistoryOptions): History {
  const { log } = options;
  const waiting = new Map<string, Session>();
  let store: HistoryStore | undefined;
  let opened = false;
  let stopped: { readonly reason: string; readonly since: number } | undefined;
  attempt("open", () => undefined);
  const timer = setInterval(writeSome, WRITE_EVERY);
  timer.unref();

  /** One use of the database: opened when it is not, moved aside when corrupt, let go when the disk fails. */
  function attempt<T>(action: "open" | "read" | "write", use: (store: HistoryStore) => T): T | undefined {
    for (let tries = 0; tries < 2; tries++) {
      try {
        store ??= openStore(options.file, !opened);
        opened = true;
        const result = use(store);
        if (action === "write" && stopped) {
          log.info("The history goes on");
          stopped = undefined;
        }
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
        if (!stopped || action === "write") stopped = { reason, since: Date.now() };
        return undefined;
      }
    }
    return undefined;
  }

  /** false: nothing waits any more, or it cannot be written now. */
  function writeSome(): boolean {
    if (stopped && Date.now() - stopped.since < RETRY_AFTER) return false;
    const sessions = waiting.values().take(WRITE_MAX).toArray();
    const written = attempt("write", (open) => {
      open.write(sessions);
      open.forget(Date.now() - options.keepAge, options.keepSessions);
      return true;
    });
    if (!written) return false;
    for (const session of sessions) waiting.delete(session.id);
    return waiting.size > 0;
  }

  function flush(): void {
    while (writeSome());
  }

  return {
    flush,
    record(sessions) {
      for (const session of sessions) {
        // Again at the end: what waits longest is written first, and is lost first.
        waiting.delete(session.id);
        waiting.set(session.id, session);
        if (waiting.size > WAITING_MAX) waiting.delete(waiting.keys().next().value!);
      }
    },
    find: (id) => waiting.get(id) ?? attempt("read", (open) => open.find(id)),
    search(query, limit) {
      flush();
      const unwritten = [...waiting.values()].filter(({ end }) => end !== null).filter(compileQuery(query));
      const written = attempt("read", (open) => open.search(query, limit + unwritten.length)) ?? [];
      const all = [...unwritten, ...written.filter(({ id }) => !waiting.has(id))];
      return all.sort((a, b) => b.start - a.start).slice(0, limit);
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
