import type { FeedSession } from "../feeds/feed.ts";
import type { Side } from "../vocabulary.ts";

/** The plaintext of sessions, in memory only and bounded: from it a session can be shown again. */

export type LogEvent =
  | { readonly kind: "data"; readonly time: number; readonly from: Side; readonly bytes: Buffer }
  /** "cut": an end, but what the side said may not be whole. */
  | { readonly kind: "end" | "cut" | "reset"; readonly time: number; readonly from: Side };

/** What an event costs beside its bytes. */
const EVENT = 300;
/** What the memory of a session costs that holds nothing. */
const SESSION = 2048;

export class SessionLog {
  readonly session: FeedSession;
  /** ms since the epoch. */
  readonly start: number;
  /** What is held, from the beginning of the session. */
  events: LogEvent[] = [];
  /** Why the rest is not held; undefined: all of it is. */
  missing: string | undefined;
  isOver = false;
  size = SESSION;
  readonly #watchers = new Set<() => void>();

  constructor(session: FeedSession, start: number) {
    this.session = session;
    this.start = start;
  }

  /** Calls `onChange` for everything that comes, until the returned function is called. */
  watch(onChange: () => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  changed(): void {
    for (const onChange of this.#watchers) onChange();
  }
}

export interface MemoryLimits {
  /** Bytes of all sessions together. */
  readonly memory: number;
  /** Bytes of one session. */
  readonly session: number;
}

/** Holds the logs. The oldest that are over go first. */
export class Memory {
  readonly #limits: MemoryLimits;
  /** In the order in which they began, and ended. */
  readonly #live = new Map<string, SessionLog>();
  readonly #over = new Map<string, SessionLog>();
  #size = 0;

  constructor(limits: MemoryLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  open(session: FeedSession, start: number): SessionLog {
    // A session that is relayed a second time, as after a late bypass, begins anew.
    const before = this.find(session.id);
    if (before) this.#drop(before, "the session went on as another one");
    const log = new SessionLog(session, start);
    this.#live.set(session.id, log);
    this.#size += log.size;
    this.#makeRoom();
    return log;
  }

  find(id: string): SessionLog | undefined {
    return this.#live.get(id) ?? this.#over.get(id);
  }

  /** Keeps a copy of the bytes, unless the session has more than it may. */
  add(log: SessionLog, event: LogEvent): void {
    if (log.missing === undefined) {
      const size = EVENT + (event.kind === "data" ? event.bytes.length : 0);
      if (log.size + size > this.#limits.session) log.missing = `only its first ${this.#limits.session} bytes are held`;
      else {
        log.events.push(event.kind === "data" ? { ...event, bytes: copyOf(event.bytes) } : event);
        log.size += size;
        if (this.find(log.session.id) === log) this.#size += size;
        this.#makeRoom();
      }
    }
    log.changed();
  }

  /** The session is over. `missing`: what was not held of it, if anything. */
  close(log: SessionLog, missing?: string): void {
    if (log.isOver) return;
    log.isOver = true;
    log.missing ??= missing;
    if (this.#live.delete(log.session.id)) this.#over.set(log.session.id, log);
    log.changed();
  }

  #makeRoom(): void {
    while (this.#size > this.#limits.memory) {
      const [oldest] = this.#over.size > 0 ? this.#over.values() : this.#live.values();
      if (!oldest) return;
      this.#drop(oldest, "the view needed its memory for newer sessions");
    }
  }

  #drop(log: SessionLog, why: string): void {
    this.#over.delete(log.session.id);
    this.#live.delete(log.session.id);
    this.#size -= log.size;
    log.events = [];
    log.missing = why;
    log.changed();
  }
}

/** A copy that keeps no larger memory alive. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
