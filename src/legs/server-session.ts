import type { End } from "../engine/end.ts";
import type { Session } from "../engine/session.ts";
import { readValidity } from "../pki/x509/validity.ts";
import type { Bond } from "../resumption/keeper.ts";
import { type KeptSession, ServerSessions } from "../resumption/server-sessions.ts";
import type { SavedSession } from "../ssl3/connection.ts";
import { HeldReplies } from "./held-replies.ts";
import type { Offer } from "./offer.ts";
import type { ShownCertificates } from "./shown-chain.ts";
import { numberOf } from "./text-numbers.ts";

/** How the node comes back to a server. */
export interface ServerResumption {
  readonly sessions: ServerSessions<RememberedSession>;
  /** What must be the same when it does, beside all that is offered. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
  /** Workers share these sessions, so that all of them must find one by the same name. */
  readonly isShared?: boolean;
  /** Gets what the server gives, to share it with the other workers. Until they have it, the client hears nothing of the server. */
  readonly share?: (name: string, session: Session, shown: ShownChain) => Promise<void> | undefined;
}

export type RememberedSession = TlsSession | Ssl3Session;

/**
 * In an abbreviated handshake a server shows no certificate: what it showed in the full handshake is kept along, so that it is
 * judged anew each time.
 */
interface TlsSession extends KeptSession {
  readonly kind: "tls";
  readonly session: Session;
  readonly shown: ShownChain;
}

export interface Ssl3Session extends KeptSession {
  readonly kind: "ssl3";
  readonly session: SavedSession;
  /** ms since the epoch. */
  readonly until: number;
}

export interface ShownChain {
  readonly certificates: ShownCertificates;
  /** ms since the epoch from which it takes a full handshake to know more. */
  readonly until: number;
}

/** So many sessions of one connection are shared. A server gives two mostly, and each that it gives makes its client wait. */
const MOST_SHARED = 16;

/** The sessions with one server, for one offer: what is found is gone, and what has worked is put back. */
export class SessionMemory {
  readonly #sessions: ServerResumption["sessions"];
  readonly #name: string;
  readonly #share: ServerResumption["share"];
  /** The server's. Undefined: nothing is shared. */
  readonly #replies: HeldReplies | undefined;
  /** Sessions that the server gave before the leg was up. */
  #early: Session[] = [];
  #earlier: TlsSession | undefined;
  #shown: ShownChain | undefined;
  #isOver = false;
  #shared = 0;

  constructor(server: End, { sessions, bond, isShared, share }: ServerResumption, offer: Offer) {
    this.#sessions = sessions;
    this.#share = share;
    this.#replies = share && new HeldReplies(server);
    this.#name = ServerSessions.nameOf([...bond, ...bondOf(offer, isShared)]);
  }

  /** The session that the leg may offer. It stays this memory's. */
  find(): TlsSession | undefined {
    const found = this.#sessions.find(this.#name, Date.now());
    if (found?.kind === "tls") this.#earlier = found;
    return this.#earlier;
  }

  /** The server gives a session, now or later. Nothing is kept before `keep`. */
  readonly take = (session: Session): void => {
    if (this.#isOver) session.release();
    else if (this.#shown) this.#put(session, this.#shown);
    else this.#early.push(session);
  };

  /** The leg is up. `shown`: by what the server is judged. `reusable`: the session that was resumed is good for more connections. */
  keep(shown: ShownChain, reusable: boolean): void {
    this.#shown = shown;
    const early = this.#early;
    this.#early = [];
    for (const session of early) this.#put(session, shown);
    const earlier = this.#earlier;
    this.#earlier = undefined;
    // A session of TLS 1.2 is good for more than one connection, and a server that resumes it often gives no other.
    if (earlier && reusable && early.length === 0) this.#put(earlier.session, shown);
    else earlier?.release();
  }

  /** When the other workers have what the server gave until now. Undefined: nothing is shared. */
  shared(): Promise<void> | undefined {
    return this.#replies?.settled();
  }

  /** All of them: after a fatal alert none is to be resumed (RFC 5246, section 7.2). */
  forget(): void {
    this.#sessions.forget(this.#name);
  }

  /** The handshake is over. Without `keep` before it, what the server gave or gives is dropped. */
  settle(): void {
    if (this.#shown) return;
    this.#isOver = true;
    this.#earlier?.release();
    this.#earlier = undefined;
    for (const session of this.#early.splice(0)) session.release();
  }

  #put(session: Session, shown: ShownChain): void {
    if (this.#share && this.#shared < MOST_SHARED) {
      this.#shared += 1;
      const shared = this.#share(this.#name, session, shown);
      if (shared) this.#replies?.until(shared);
    }
    this.#sessions.put(this.#name, rememberTls(session, shown), shown.until);
  }
}

export function rememberTls(session: Session, shown: ShownChain): RememberedSession {
  return { kind: "tls", session, shown, bytes: sizeOf(shown), release: () => session.release() };
}

/**
 * Stands for the offer. Its texts are some kilobytes, for which each process has numbers of its own: a name that other workers know has the
 * texts themselves.
 */
export function bondOf(
  { minVersion, maxVersion, ciphers, ecdhCurve = "", sigalgs = "", alpn, serverName = "" }: Offer,
  isShared = false,
): Bond {
  const texts = [ciphers, ecdhCurve, sigalgs, JSON.stringify(alpn), serverName];
  return [minVersion, maxVersion, ...(isShared ? texts : texts.map(numberOf))];
}

/** Of a session in bytes, without its certificates. */
const SESSION = 2_048;
/** How much more a certificate is in OpenSSL's memory than in DER. */
const DECODED = 4;

/** Sessions of one handshake share the certificates, and each counts them: nobody else may hold them any more. */
function sizeOf({ certificates: { ders } }: ShownChain): number {
  return SESSION + DECODED * ders.reduce((sum, { length }) => sum + length, 0);
}

/**
 * What a full handshake showed, and for how long it may stand: `timeout` ms, but not beyond the end of a certificate, whose
 * dates were looked at for the last time. One that has ended already was not needed, or the judge says so.
 */
export function rememberChain(certificates: ShownCertificates, timeout: number, now: number): ShownChain {
  const ends = certificates.chain.map((one) => readValidity(one).notAfter).filter((end) => end > now);
  return { certificates, until: Math.min(now + timeout, ...ends) };
}
