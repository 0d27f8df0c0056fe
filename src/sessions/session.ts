import { InvariantError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { type Ending, LIVE, outcomeOf } from "./outcome.ts";
import type { Session, State } from "./record.ts";

/**
 * The states that may follow each state: docs/glossary.md. A state says how far the connections got; `end` says that the
 * session is over, and the record keeps its last state. A move that is not in this table is a bug of ours.
 */
const NEXT: Readonly<Partial<Record<State, readonly State[]>>> = {
  // Inline: the client's SYN is held until the server has answered.
  "INIT:INIT:INIT:INIT": ["SYN_RCV:SYN_SENT:INIT:INIT", "EST:INIT:INIT:INIT"],
  "SYN_RCV:SYN_SENT:INIT:INIT": ["SYN_RCV:EST:INIT:INIT"],
  "SYN_RCV:EST:INIT:INIT": ["EST:EST:INIT:INIT"],
  // Explicit and forward: the client is connected first, the server's address comes later.
  "EST:INIT:INIT:INIT": ["EST:SYN_SENT:INIT:INIT"],
  "EST:SYN_SENT:INIT:INIT": ["EST:EST:INIT:INIT"],
  // Back to SYN_SENT: a late bypass opens a second connection to the server.
  "EST:EST:INIT:INIT": ["EST:SYN_SENT:INIT:INIT", "EST:EST:SYN_SENT:INIT"],
  // Back to INIT: the tools failed, and the session goes on without them.
  "EST:EST:SYN_SENT:INIT": ["EST:EST:SYN_SENT:SYN_RCV", "EST:EST:INIT:INIT"],
  "EST:EST:SYN_SENT:SYN_RCV": ["EST:EST:EST:EST", "EST:EST:INIT:INIT"],
  // Back to INIT: a session that began in plaintext became TLS that is bypassed; it passes the tools again, or not at all.
  "EST:EST:EST:EST": ["EST:EST:INIT:INIT"],
};

/** The facts about a session when it begins. */
export interface SessionStart {
  readonly id: string;
  readonly worker: number;
  readonly listener: string;
  readonly mode: string;
  /** null or absent: its frames have no VLAN tag. */
  readonly vlan?: string | null | undefined;
  readonly client: Endpoint;
  /** null: a session of an explicit proxy, whose target is not known yet. */
  readonly server: Endpoint | null;
  /** "INIT:INIT:INIT:INIT": the client's SYN is held. "EST:INIT:INIT:INIT": the listener has accepted the client. */
  readonly state: "INIT:INIT:INIT:INIT" | "EST:INIT:INIT:INIT";
}

/** The fields that change while a session lives. */
export type SessionUpdate = Partial<
  Omit<
    Session,
    | ("id" | "worker" | "listener" | "mode" | "vlan" | "client" | "start" | "lastActivity" | "end" | "closeReason")
    | ("outcome" | "cause" | "blame" | "timeline")
  >
>;

/** A record while its session lives: a copy for each of ten updates would cost more than all else about it. What is in it is replaced. */
export type OpenRecord = { -readonly [Key in keyof Session]: Session[Key] };

/** Makes the record of a new session. `now` in ms since the epoch. */
export function openSession(birth: SessionStart, now: number): OpenRecord {
  // Every field by its name: a record that begins with a spread is a slow object.
  return {
    listener: birth.listener,
    mode: birth.mode,
    vlan: birth.vlan ?? null,
    client: birth.client,
    server: birth.server,
    state: birth.state,
    id: birth.id,
    worker: birth.worker,
    seenAs: null,
    proxyHeader: null,
    protocol: null,
    startTls: null,
    sni: null,
    connectHost: null,
    ech: null,
    ja3: null,
    ja4: null,
    communityId: null,
    deployment: null,
    certificate: null,
    presented: null,
    verdict: null,
    phase: null,
    rule: null,
    reason: null,
    monitored: null,
    page: null,
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
    outcome: LIVE.outcome,
    cause: LIVE.cause,
    blame: LIVE.blame,
  };
}

/**
 * Updates a record. `now` in ms since the epoch. Throws InvariantError for a state that may not follow, and for an update of a session
 * that is over.
 */
export function advance(session: OpenRecord, news: SessionUpdate, now: number): void {
  if (session.end !== null) throw new InvariantError(`Cannot advance session ${session.id}: it is over`);
  const { state } = news;
  if (state !== undefined && state !== session.state && !NEXT[session.state]?.includes(state)) {
    throw new InvariantError(`Cannot move session ${session.id} from ${session.state} to ${state}`);
  }
  Object.assign(session, news);
  if (!isDeparture(news)) session.lastActivity = now;
}

/** How the peers left is recorded at the end, for example after an idle timeout: it is not activity. */
function isDeparture(news: SessionUpdate): boolean {
  for (const key in news) if (key !== "clientLeft" && key !== "serverLeft") return false;
  return true;
}

/** Ends the session of a record, and answers what became known by it. `reason` is one sentence, `now` in ms since the epoch. */
export function end(session: OpenRecord, reason: string, now: number, ending?: Ending): Partial<Session> {
  session.end = now;
  session.closeReason = reason;
  const result = outcomeOf(session, ending);
  Object.assign(session, result);
  return { end: now, closeReason: reason, ...result };
}

/** Makes the record of a session that is over. A second reason is ignored: the first is the cause, later ones are its consequences. */
export function finish(session: Session, reason: string, now: number, ending?: Ending): Session {
  if (session.end !== null) return session;
  const over = { ...session };
  end(over, reason, now, ending);
  return over;
}
