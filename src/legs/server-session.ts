import { readValidity } from "../pki/x509/validity.ts";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { Offer } from "./offer.ts";
import { readShown, type ShownCertificates } from "./shown-chain.ts";

/** How the node comes back to a server. */
export interface ServerResumption {
  readonly sessions: SessionKeeper;
  /** What must be the same when it does, beside all that is offered. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/**
 * A session with a server as it is kept. In an abbreviated handshake a server shows no certificate, and OpenSSL keeps none of
 * the chain: what it showed in the full handshake is kept along, so that it is judged anew each time.
 */
export interface ServerSession {
  /** In DER: a secret. */
  readonly session: Buffer;
  readonly shown: ShownChain;
}

export interface ShownChain {
  readonly certificates: ShownCertificates;
  /** ms since the epoch from which it takes a full handshake to know more. */
  readonly until: number;
}

/** The sessions with one server, for one offer: what is found is gone, and what has worked is put back. */
export class SessionMemory {
  readonly #sessions: SessionKeeper;
  readonly #bond: Bond;
  /** Sessions that the server gave before the leg was up. */
  readonly #early: Buffer[] = [];
  #shown: ShownChain | undefined;

  constructor({ sessions, bond }: ServerResumption, offer: Offer) {
    this.#sessions = sessions;
    this.#bond = [...bond, JSON.stringify(offer)];
  }

  async find(): Promise<ServerSession | undefined> {
    const bytes = await this.#sessions.find(this.#bond, Date.now());
    return bytes && readServerSession(bytes);
  }

  /** The server gives a session, now or later. Nothing is kept before `keep`. */
  readonly take = (session: Buffer): void => {
    if (!this.#shown) {
      this.#early.push(session);
      return;
    }
    const { until } = this.#shown;
    this.#sessions.put(this.#bond, writeServerSession({ session, shown: this.#shown }), until);
  };

  /** The leg is up. `shown`: by what the server is judged. `used`: the session that was resumed. */
  keep(shown: ShownChain, used: Buffer | undefined): void {
    this.#shown = shown;
    const early = this.#early.splice(0);
    for (const session of early) this.take(session);
    // A session of TLS 1.2 is good for more than one connection, and a server that resumes it often gives no other.
    if (used && early.length === 0) this.take(used);
  }

  /** All of them: after a fatal alert none is to be resumed (RFC 5246, section 7.2). */
  forget(): void {
    this.#sessions.forget(this.#bond);
  }
}

/**
 * What a full handshake showed, and for how long it may stand: `timeout` ms, but not beyond the end of a certificate, whose
 * dates were looked at for the last time. One that has ended already was not needed, or the judge says so.
 */
export function rememberChain(certificates: ShownCertificates, timeout: number, now: number): ShownChain {
  const ends = certificates.chain.map((one) => readValidity(one).notAfter).filter((end) => end > now);
  return { certificates, until: Math.min(now + timeout, ...ends) };
}

interface Written {
  readonly session: string;
  /** DER in base64. */
  readonly chain: readonly string[];
  readonly until: number;
}

function writeServerSession({ session, shown: { certificates, until } }: ServerSession): Buffer {
  const chain = certificates.ders.map((der) => der.toString("base64"));
  const written: Written = { session: session.toString("base64"), chain, until };
  return Buffer.from(JSON.stringify(written));
}

/** `bytes` were this node's own: no stranger could have written them. Undefined: a version of the node that wrote otherwise. */
function readServerSession(bytes: Uint8Array): ServerSession | undefined {
  const { session, chain, until } = JSON.parse(Buffer.from(bytes).toString()) as Written;
  if (!Array.isArray(chain)) return undefined;
  const certificates = readShown(chain.map((der: string) => Buffer.from(der, "base64")));
  return certificates && { session: Buffer.from(session, "base64"), shown: { certificates, until } };
}
