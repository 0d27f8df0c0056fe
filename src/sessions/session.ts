import { InvariantError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Session, State } from "./record.ts";

/**
 * Which four-end state may follow which: product.md, section 2. The ends only tell how far the connections got; that a
 * session is over is told by `end`, and its last state stays in the record. A move outside this table is a bug of ours.
 */
const NEXT: Readonly<Partial<Record<State, readonly State[]>>> = {
  // Inline: the client's SYN is held until the server has answered.
  "INIT:INIT:INIT:INIT": ["SYN_RCV:SYN_SENT:INIT:INIT", "EST:INIT:INIT:INIT"],
  "SYN_RCV:SYN_SENT:INIT:INIT": ["SYN_RCV:EST:INIT:INIT"],
  "SYN_RCV:EST:INIT:INIT": ["EST:EST:INIT:INIT"],
  // Explicit and forward: the client is there already, the server's address comes later.
  "EST:INIT:INIT:INIT": ["EST:SYN_SENT:INIT:INIT"],
  "EST:SYN_SENT:INIT:INIT": ["EST:EST:INIT:INIT"],
  // Back to SYN_SENT: a late bypass gives the server's side a fresh connection, on which the client's bytes are replayed.
  "EST:EST:INIT:INIT": ["EST:SYN_SENT:INIT:INIT", "EST:EST:SYN_SENT:INIT"],
  // Back to INIT: the tools have failed, and the session goes on without them.
  "EST:EST:SYN_SENT:INIT": ["EST:EST:SYN_SENT:SYN_RCV", "EST:EST:INIT:INIT"],
  "EST:EST:SYN_SENT:SYN_RCV": ["EST:EST:EST:EST", "EST:EST:INIT:INIT"],
  // Back to INIT: what began in plaintext became TLS that is bypassed, and goes through the tools anew or not at all.
  "EST:EST:EST:EST": ["EST:EST:INIT:INIT"],
};

/** What is known of a session when it begins. */
export interface SessionBirth {
  readonly id: string;
  readonly worker: number;
  readonly listener: string;
  readonly mode: string;
  readonly client: Endpoint;
  /** null: an explicit proxy's session, whose target is not known yet. */
  readonly server: Endpoint | null;
  /** "INIT:INIT:INIT:INIT": the client's SYN is held. "EST:INIT:INIT:INIT": the listener has accepted the client. */
  readonly state: "INIT:INIT:INIT:INIT" | "EST:INIT:INIT:INIT";
}

/** What may be learnt of a session while it lives. */
export type SessionNews = Partial<
  Omit<Session, "id" | "worker" | "listener" | "mode" | "client" | "start" | "lastActivity" | "end" | "closeReason">
>;

/** A new session's record. `now` in ms since the epoch. */
export function openSession(birth: SessionBirth, now: number): Session {
  return {
    ...birth,
    seenAs: null,
    protocol: null,
    startTls: null,
    sni: null,
    connectHost: null,
    ech: null,
    ja3: null,
    ja4: null,
    deployment: null,
    certificate: null,
    presented: null,
    verdict: null,
    phase: null,
    rule: null,
    reason: null,
    clientLeg: { received: 0, sent: 0 },
    serverLeg: { received: 0, sent: 0 },
    tools: [],
    feeds: {},
    start: now,
    lastActivity: now,
    end: null,
    closeReason: null,
    clientLeft: null,
    serverLeft: null,
  };
}

/**
 * The record after `news`; the one given is left as it is. `now` in ms since the epoch.
 * Throws InvariantError for a state that may not follow, and for news of a session that is over.
 */
export function advance(session: Session, news: SessionNews, now: number): Session {
  if (session.end !== null) throw new InvariantError(`Cannot advance session ${session.id}: it is over`);
  const { state } = news;
  if (state !== undefined && state !== session.state && !NEXT[session.state]?.includes(state)) {
    throw new InvariantError(`Cannot move session ${session.id} from ${session.state} to ${state}`);
  }
  return { ...session, ...news, lastActivity: isDeparture(news) ? session.lastActivity : now };
}

/** How the peers left is told when all is over, after an idle timeout say: nothing has passed. */
function isDeparture(news: SessionNews): boolean {
  return Object.keys(news).every((key) => key === "clientLeft" || key === "serverLeft");
}

/**
 * The record of a session that is over, for one reason in one sentence. `now` in ms since the epoch.
 * A second reason is ignored: the first thing that went wrong is the cause, the rest is its echo.
 */
export function finish(session: Session, reason: string, now: number): Session {
  return session.end === null ? { ...session, end: now, closeReason: reason } : session;
}
