import { Cache } from "../cache.ts";
import { type Counters, count, noCounters, sum } from "./counters.ts";
import { Interning } from "./interning.ts";
import type { Session } from "./record.ts";
import { compareSessions, compileHost, compileQuery, hostsOf, type SessionQuery } from "./search.ts";
import { finish } from "./session.ts";
import { Tally } from "./tally.ts";

/** A worker's report about one session: first the whole record, later the fields that changed. */
export type SessionChange = Partial<Session> & { readonly id: string };

/** The effect of a batch. A session that opened and closed in the same batch is only in `closed`. */
export interface Applied {
  readonly opened: readonly Session[];
  readonly changed: readonly Session[];
  readonly closed: readonly Session[];
}

/** The room for a closed session in memory; usual ones take half of it. */
const RECENT_BYTES = 8_192;

/** The live sessions of all workers, and the last `recent` closed ones. */
export class LiveTable {
  readonly #live = new Map<string, Session>();
  readonly #hosts = new HostIndex();
  /** The latest start of a live session, and by how many ms one may have begun before another that was reported earlier. */
  #newest = Number.NEGATIVE_INFINITY;
  #disorder = 0;
  readonly #interning = new Interning();
  readonly #closed;
  readonly #ended = noCounters();
  /** What else is counted of ended sessions. */
  readonly tally = new Tally();

  constructor({ recent = 1000 }: { recent?: number } = {}) {
    this.#closed = new Cache<Session>({ entries: recent, bytes: recent * RECENT_BYTES, sizeOf });
  }

  get size(): number {
    return this.#live.size;
  }

  /** Changes of sessions that the table does not know are ignored: their worker is gone. */
  apply(changes: Iterable<SessionChange>): Applied {
    const opened = new Map<string, Session>();
    const changed = new Map<string, Session>();
    const closed: Session[] = [];
    for (const change of changes) {
      const before = this.#live.get(change.id);
      if (!before && (!isWhole(change) || this.#closed.find(change.id))) continue;
      const shared = this.#interning.share(change);
      const after = (before ? { ...before, ...shared } : shared) as Session;
      if (after.end === null) {
        this.#put(before, after);
        (before && !opened.has(after.id) ? changed : opened).set(after.id, after);
      } else {
        this.#retire(before, after);
        closed.push(after);
        opened.delete(after.id);
        changed.delete(after.id);
      }
    }
    return { opened: [...opened.values()], changed: [...changed.values()], closed };
  }

  /** Ends the sessions of a dead worker, and answers their last records. `now` in ms since the epoch. */
  dropWorker(worker: number, now: number): readonly Session[] {
    const orphans = [...this.#live.values()].filter((session) => session.worker === worker);
    return orphans.map((session) => {
      const after = finish(session, "The worker ended", now, { by: "node", code: "workerEnded" });
      this.#retire(session, after);
      return after;
    });
  }

  /** Finds a live session, or one that closed a short while ago. */
  find(id: string): Session | undefined {
    return this.#live.get(id) ?? this.#closed.find(id);
  }

  /** Live sessions, newest first. An exact host is looked up in an index; other queries read the whole table. */
  search(query: SessionQuery, limit: number): readonly Session[] {
    const host = query.sni ?? query.host;
    const names = host === undefined ? undefined : compileHost(host).names;
    const ids = names && this.#hosts.find(names);
    const matches = compileQuery(query);
    if (ids) return first([...ids].map((id) => this.#live.get(id)!).filter(matches), limit);
    return first(this.#newestFirst(matches, limit), limit);
  }

  /** At least the first `limit` that match. Workers report one after the other, so few more are looked at. */
  #newestFirst(matches: (session: Session) => boolean, limit: number): Session[] {
    const found: Session[] = [];
    let oldest = Number.POSITIVE_INFINITY;
    for (const session of [...this.#live.values()].reverse()) {
      if (found.length >= limit && session.start + this.#disorder < oldest) break;
      if (!matches(session)) continue;
      if (found.length < limit) oldest = Math.min(oldest, session.start);
      found.push(session);
    }
    return found;
  }

  live(): Iterable<Session> {
    return this.#live.values();
  }

  /** The counters since the node started, of ended and of live sessions. */
  counters(): Counters {
    const open = noCounters();
    for (const session of this.#live.values()) count(open, session);
    return sum([this.#ended, open]);
  }

  /** The counters of ended sessions, which never fall. */
  endedCounters(): Counters {
    return sum([this.#ended]);
  }

  #put(before: Session | undefined, after: Session): void {
    if (!before) this.#noteStart(after.start);
    this.#live.set(after.id, after);
    if (before && sameHosts(before, after)) return;
    if (before) this.#hosts.remove(before);
    this.#hosts.add(after);
  }

  #noteStart(start: number): void {
    if (this.#live.size === 0) [this.#newest, this.#disorder] = [start, 0];
    this.#disorder = Math.max(this.#disorder, this.#newest - start);
    this.#newest = Math.max(this.#newest, start);
  }

  #retire(before: Session | undefined, after: Session): void {
    if (before) {
      this.#live.delete(after.id);
      this.#hosts.remove(before);
    }
    count(this.#ended, after);
    this.tally.note(after);
    this.#closed.keep(after.id, after);
  }
}

/** Finds the IDs of sessions by host name. */
class HostIndex {
  readonly #ids = new Map<string, Set<string>>();

  add(session: Session): void {
    for (const host of hostsOf(session)) {
      const ids = this.#ids.get(host);
      if (ids) ids.add(session.id);
      else this.#ids.set(host, new Set([session.id]));
    }
  }

  remove(session: Session): void {
    for (const host of hostsOf(session)) {
      const ids = this.#ids.get(host);
      ids?.delete(session.id);
      if (ids?.size === 0) this.#ids.delete(host);
    }
  }

  find(names: readonly string[]): ReadonlySet<string> {
    return new Set(names.flatMap((name) => [...(this.#ids.get(name) ?? [])]));
  }
}

function first(sessions: Session[], limit: number): readonly Session[] {
  return sessions.sort(compareSessions).slice(0, limit);
}

function isWhole(change: SessionChange): change is Session {
  return change.client !== undefined && change.start !== undefined && change.end !== undefined;
}

function sameHosts(before: Session, after: Session): boolean {
  return (
    before.sni === after.sni && before.connectHost === after.connectHost && before.certificate === after.certificate
  );
}

/** A record's memory, in bytes: its length is up to the server's certificate. */
function sizeOf({ certificate }: Session): number {
  const names = certificate?.names ?? [];
  return 4_096 + names.reduce((sum, { length }) => sum + length + 32, 0);
}
