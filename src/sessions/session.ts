import { InvariantError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";

/** The state of one of the node's four TCP ends: product.md, section 2. */
type End = "INIT" | "SYN_SENT" | "SYN_RCV" | "EST";

/** Na:Nb:Ta:Tb, written as "EST:EST:INIT:INIT". */
export type State = `${End}:${End}:${End}:${End}`;

/** What was negotiated on one leg. Names are IANA's: "TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "h2". */
export interface LegRecord {
  readonly version?: string;
  readonly suite?: string;
  readonly group?: string;
  readonly alpn?: string | null;
  /** The peer came back (client leg) or was come back to (server leg) with an abbreviated handshake. */
  readonly resumed?: boolean;
  /** Plaintext bytes (or bytes as they are, when not decrypted) from and to this leg's peer. */
  readonly received: number;
  readonly sent: number;
}

export interface CertificateRecord {
  readonly subject: string;
  readonly issuer: string;
  readonly names: readonly string[];
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
  /** ms since the epoch; null: what stands there is no date. */
  readonly notBefore: number | null;
  readonly notAfter: number | null;
  readonly faults: readonly { readonly fault: string; readonly code: string }[];
  /** Absent: nobody was asked whether it was revoked. */
  readonly revocation?: RevocationRecord;
}

/** What is known of a certificate's revocation, and of those above it. */
export interface RevocationRecord {
  /** "unknown": nobody could say. "exempt": nobody will ever say, and nobody needs to. */
  readonly status: "good" | "revoked" | "unknown" | "exempt";
  /** Who said it: the server, with its issuer's signature, the issuer's responder, its list; null: nobody. */
  readonly from: "stapled" | "ocsp" | "crl" | null;
  /** An earlier session had asked. */
  readonly cached: boolean;
  /** Why it was revoked, or why nothing is known; null: there is nothing to say. */
  readonly reason: string | null;
  /** From when it is, and until when it holds, as its issuer says, in ms since the epoch. */
  readonly thisUpdate: number | null;
  readonly nextUpdate: number | null;
}

/** What the client was shown instead of, or as, the server's certificate. */
export interface PresentedRecord {
  readonly authority: "primary" | "secondary" | "inbound";
  readonly serial: string;
  readonly sha256: string;
  readonly keyType: string;
}

/** How a conversation that began in plaintext came to TLS, or did not. */
export interface StartTlsRecord {
  /** "SMTP", "CONNECT"… The last one, when there were several. */
  readonly protocol: string;
  /** "refused": the server does not do it. "withdrawn": nor does it, and it did so before; somebody may be in between. */
  readonly outcome: "upgraded" | "refused" | "withdrawn";
  /** When the peers agreed, in ms since the epoch; null: they did not. */
  readonly at: number | null;
}

/** One client connection with its legs: a row of the session table. Plain data, replaced and never mutated. */
export interface Session {
  readonly id: string;
  readonly worker: number;
  readonly listener: string;
  readonly mode: string;
  readonly state: State;
  readonly client: Endpoint;
  readonly server: Endpoint | null;
  /** The client as the server sees it: its own address inline, the node's elsewhere. */
  readonly seenAs: Endpoint | null;
  /** "tls": a ClientHello was seen. "http": plain HTTP through the explicit proxy. "other": anything else. null: nothing seen yet. */
  readonly protocol: "tls" | "http" | "other" | null;
  /** null: it was TLS from its first byte, or nobody wanted it to become so. */
  readonly startTls: StartTlsRecord | null;
  readonly sni: string | null;
  readonly connectHost: string | null;
  readonly ech: "outer" | "inner" | null;
  readonly ja3: string | null;
  readonly ja4: string | null;
  readonly deployment: "outbound" | "inbound" | null;
  readonly certificate: CertificateRecord | null;
  readonly presented: PresentedRecord | null;
  readonly verdict: "decrypt" | "bypass" | "drop" | null;
  readonly phase: "network" | "sni" | "certificate" | null;
  readonly rule: string | null;
  readonly reason: string | null;
  readonly clientLeg: LegRecord;
  readonly serverLeg: LegRecord;
  /** The inline tools of this session, in order. "bypassed": the tool had failed and lets sessions go on without it. */
  readonly tools: readonly { readonly name: string; readonly state: "connected" | "bypassed" }[];
  /** Files or places that hold the copy of the plaintext, by feed name. */
  readonly feeds: Readonly<Record<string, string>>;
  /** ms since the epoch. */
  readonly start: number;
  readonly lastActivity: number;
  readonly end: number | null;
  /** One sentence, once the session is over: "The client closed the connection". */
  readonly closeReason: string | null;
  /** How each peer left: "closed" a FIN (TLS legs: with or without close_notify, which the TLS library does not show), "reset" a RST. */
  readonly clientLeft: "closed" | "reset" | null;
  readonly serverLeft: "closed" | "reset" | null;
}

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
