import { hash } from "node:crypto";
import type { Bond } from "./keeper.ts";

/** What is kept of a session with a server. */
export interface KeptSession {
  /** Bytes that it holds. */
  readonly bytes: number;
  /** It is kept no longer, and nobody has it. */
  release(): void;
}

/** The room for one session in bytes: its secrets, and the server's chain. */
const BYTES = 8_192;
/** A TLS 1.3 server gives several tickets, each good for one connection, and browsers open several connections at once. */
const OF_ONE_BOND = 4;

interface Entry<Session> {
  readonly session: Session;
  readonly until: number;
}

/**
 * One worker's sessions with servers, bounded in number, bytes and age, because anyone can make many. What is found is the
 * finder's: a ticket of TLS 1.3 is good for one connection (RFC 8446, appendix C.4). Each worker has its own: asking the others
 * would cost as much as an abbreviated handshake saves. Times in ms since the epoch.
 */
export class ServerSessions<Session extends KeptSession> {
  readonly #mostEntries: number;
  /** By a bond's name, the newest session last. A Map keeps the order of insertion, so its first name goes first. */
  readonly #kept = new Map<string, Entry<Session>[]>();
  #size = 0;
  #bytes = 0;
  #hits = 0;
  #misses = 0;

  constructor(entries: number) {
    this.#mostEntries = entries;
  }

  get size(): number {
    return this.#size;
  }

  get hits(): number {
    return this.#hits;
  }

  get misses(): number {
    return this.#misses;
  }

  /** The name of everything that a session is bound to: a session is found only by exactly the same. */
  static nameOf(bond: Bond): string {
    return hash("sha256", JSON.stringify(bond), "base64url");
  }

  put(name: string, session: Session, until: number): void {
    const own = this.#kept.get(name) ?? [];
    this.#kept.delete(name);
    this.#kept.set(name, own);
    own.push({ session, until });
    this.#size += 1;
    this.#bytes += session.bytes;
    if (own.length > OF_ONE_BOND) this.#takeOff(own).release();
    for (const [oldest, entries] of this.#kept) {
      if (this.#size <= this.#mostEntries && this.#bytes <= this.#mostEntries * BYTES) break;
      while (entries.length > 0) this.#takeOff(entries).release();
      this.#kept.delete(oldest);
    }
  }

  /** The newest that is still good. */
  find(name: string, now: number): Session | undefined {
    const own = this.#kept.get(name);
    const newest = own?.pop();
    if (own?.length === 0) this.#kept.delete(name);
    if (newest) this.#discount(newest);
    if (newest && newest.until > now) {
      this.#hits += 1;
      return newest.session;
    }
    newest?.session.release();
    // All others are older.
    this.forget(name);
    this.#misses += 1;
    return undefined;
  }

  forget(name: string): void {
    const own = this.#kept.get(name) ?? [];
    while (own.length > 0) this.#takeOff(own).release();
    this.#kept.delete(name);
  }

  /** Answers how many there were. */
  flush(): number {
    const { size } = this;
    for (const name of [...this.#kept.keys()]) this.forget(name);
    return size;
  }

  /** The oldest of these. */
  #takeOff(entries: Entry<Session>[]): Session {
    const oldest = entries.shift()!;
    this.#discount(oldest);
    return oldest.session;
  }

  #discount({ session }: Entry<Session>): void {
    this.#size -= 1;
    this.#bytes -= session.bytes;
  }
}
