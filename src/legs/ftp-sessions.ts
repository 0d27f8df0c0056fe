import { Session } from "../engine/session.ts";
import type { ServerSessions } from "../resumption/server-sessions.ts";
import { type RememberedSession, rememberTls, type ShownChain } from "./server-session.ts";
import { readShown } from "./shown-chain.ts";

/**
 * FTP servers may demand that a data connection resumes the TLS session of its control connection, and clients may too. It has another
 * port, and may come to another worker: so what a server gives on a control connection goes to all workers, before the client hears
 * from the server where to open one.
 */
export interface SharedFtpSession {
  /** The client and the server. */
  readonly peers: string;
  /** What the session is bound to: a name of `ServerSessions`. */
  readonly name: string;
  /** A secret. */
  readonly session: Uint8Array;
  /** What the server showed. */
  readonly ders: readonly Uint8Array[];
  /** ms since the epoch. */
  readonly until: number;
}

export interface FtpSessions {
  /** Whether these peers have an FTP control connection, or had one a while ago. */
  has(peers: string): boolean;
  /** The server gave a session on a control connection. Answers when the other workers have it; undefined: there are none. */
  share(peers: string, name: string, session: Session, shown: ShownChain): Promise<void> | undefined;
  /** Another worker shared one. */
  take(shared: SharedFtpSession): void;
}

/** ms for which data connections resume a session: longer than others, because control connections live long. */
export const FTP_SESSION = 3_600_000;

/** Peers, bounded in number. Times in ms since the epoch. */
interface KnownPeers {
  has(peers: string, now: number): boolean;
  learn(peers: string, until: number): void;
}

export function createFtpSessions(
  known: KnownPeers,
  sessions: ServerSessions<RememberedSession>,
  tell: false | ((shared: SharedFtpSession) => Promise<void>),
): FtpSessions {
  return {
    has: (peers) => known.has(peers, Date.now()),
    share(peers, name, session, { certificates: { ders }, until }) {
      known.learn(peers, Date.now() + FTP_SESSION);
      return tell ? tell({ peers, name, session: session.bytes(), ders, until }) : undefined;
    },
    take({ peers, name, session: bytes, ders, until }) {
      known.learn(peers, Date.now() + FTP_SESSION);
      const certificates = readShown(ders.map((der) => Buffer.from(der)));
      const session = Session.read(Buffer.from(bytes));
      if (session && certificates) sessions.put(name, rememberTls(session, { certificates, until }), until);
      else session?.release();
    },
  };
}
