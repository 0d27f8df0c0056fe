import { createCache } from "../cache.ts";
import { type Counters, count, noCounters, sum } from "./counters.ts";
import type { Session } from "./record.ts";
import { compileHost, compileQuery, hostsOf, type SessionQuery } from "./search.ts";
import { finish } from "./session.ts";

/** What a worker tells of one session: the whole record first, then the fields that changed. */
export type SessionChange = Partial<Session> & { readonly id: string };

/** What a batch did to the table. A session that opened and closed in one batch is only among `closed`. */
export interface Applied {
  readonly opened: readonly Session[];
  readonly changed: readonly Session[];
  readonly closed: readonly Session[];
}

export interface LiveTable {
  readonly size: number;
  /** Changes of sessions that are not, or no longer, in the table are ignored: their worker is gone. */
  apply(changes: Iterable<SessionChange>): Applied;
  /** A worker is dead: its sessions ended with it. Answers their last records. `now` in ms since the epoch. */
  dropWorker(worker: number, now: number): readonly Session[];
  /** Live, or closed a short while ago. */
  find(id: string): Session | undefined;
  /** Live sessions, newest first. An exact host does not walk the table. */
  search(query: SessionQuery, limit: number): readonly Session[];
  live(): Iterable<Session>;
  /** Everything counted since the node started: ended sessions and live ones. */
  counters(): Counters;
  /** What was counted of ended sessions: these figures never fall. */
  endedCounters(): Counters;
}

/** The live sessions of all workers, and the last `recent` closed ones. */
export function createLiveTable({ recent = 1000 }: { recent?: number } = {}): LiveTable {
  const live = new Map<string, Session>();
  const byHost = new Map<string, Set<string>>();
  const closed = createCache<Session>({ entries: recent });
  const ended = noCounters();

  function put(before: Session | undefined, after: Session): void {
    live.set(after.id, after);
    if (before && sameHosts(before, after)) return;
    if (before) unindex(before);
    for (const host of hostsOf(after)) {
      const ids = byHost.get(host);
      if (ids) ids.add(after.id);
      else byHost.set(host, new Set([after.id]));
    }
  }

  function retire(before: Session | undefined, after: Session): void {
    if (before) {
      live.delete(after.id);
      unindex(before);
    }
    count(ended, after);
    closed.keep(after.id, after);
  }

  function unindex(session: Session): void {
    for (const host of hostsOf(session)) {
      const ids = byHost.get(host);
      ids?.delete(session.id);
      if (ids?.size === 0) byHost.delete(host);
    }
  }

  /** The sessions that can have one of these names, in the order they began. */
  function* named(names: readonly string[]): Iterable<Session> {
    const ids = new Set(names.flatMap((name) => [...(byHost.get(name) ?? [])]));
    const sessions = [...ids].map((id) => live.get(id)!);
    yield* sessions.sort((a, b) => a.start - b.start);
  }

  return {
    get size() {
      return live.size;
    },

    apply(changes) {
      const opened = new Map<string, Session>();
      const changed = new Map<string, Session>();
      const closedNow: Session[] = [];
      for (const change of changes) {
        const before = live.get(change.id);
        if (!before && !isWhole(change)) continue;
        if (!before && closed.find(change.id)) continue;
        const after = { ...before, ...change } as Session;
        if (after.end !== null) {
          retire(before, after);
          closedNow.push(after);
          opened.delete(after.id);
          changed.delete(after.id);
        } else {
          put(before, after);
          (before && !opened.has(after.id) ? changed : opened).set(after.id, after);
        }
      }
      return { opened: [...opened.values()], changed: [...changed.values()], closed: closedNow };
    },

    dropWorker(worker, now) {
      const orphans = [...live.values()].filter((session) => session.worker === worker);
      return orphans.map((session) => {
        const after = finish(session, "The worker ended", now);
        retire(session, after);
        return after;
      });
    },

    find: (id) => live.get(id) ?? closed.find(id),

    search(query, limit) {
      const names = query.host === undefined ? undefined : compileHost(query.host).names;
      return newest(names ? named(names) : live.values(), query, limit);
    },

    live: () => live.values(),

    counters() {
      const open = noCounters();
      for (const session of live.values()) count(open, session);
      return sum([ended, open]);
    },

    endedCounters: () => sum([ended]),
  };
}

/** Maps keep the order of insertion, oldest first. */
function newest(sessions: Iterable<Session>, query: SessionQuery, limit: number): readonly Session[] {
  return [...sessions].reverse().values().filter(compileQuery(query)).take(limit).toArray();
}

function isWhole(change: SessionChange): change is Session {
  return change.client !== undefined && change.start !== undefined && change.end !== undefined;
}

function sameHosts(before: Session, after: Session): boolean {
  return (
    before.sni === after.sni && before.connectHost === after.connectHost && before.certificate === after.certificate
  );
}
