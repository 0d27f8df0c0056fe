import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { Cache } from "../cache.ts";
import { certificatesSentWith } from "../pki/x509/chain.ts";
import { readValidity } from "../pki/x509/validity.ts";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { Offer } from "./offer.ts";
import { isFatalAlert } from "./openssl-errors.ts";

/** How the node resumes sessions with servers. */
export interface ServerResumption {
  readonly sessions: SessionKeeper;
  /** What must be the same in both sessions, apart from the offer. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/**
 * A stored session with a server. In an abbreviated handshake the server shows no certificate, and OpenSSL does not store the
 * chain. So the chain of the full handshake is stored as well, and judged anew each time.
 */
export interface ServerSession {
  /** Node's serialized session: a secret. */
  readonly session: Buffer;
  readonly shown: ShownChain;
}

export interface ShownChain {
  /** The server's own certificate first. */
  readonly chain: readonly X509Certificate[];
  /** OpenSSL's verification code; undefined: the chain is good. */
  readonly code: string | undefined;
  /** ms since the epoch. Later sessions need a full handshake. */
  readonly until: number;
}

/** The stored sessions with one server, for one offer. Finding a session removes it; one that worked is put back. */
export interface SessionMemory {
  find(): Promise<ServerSession | undefined>;
  /** Collects the sessions that the server gives on this stream. They are stored from `keep` on, until a fatal alert. */
  watch(stream: TLSSocket): void;
  /** Called when the leg is up. `shown` is called if there is a session to store. `used`: the session that was resumed. */
  keep(shown: () => ShownChain, used: Buffer | undefined): void;
  /** Forgets all sessions with this server for this offer. */
  forget(): void;
}

export function openSessionMemory({ sessions, bond }: ServerResumption, offer: Offer): SessionMemory {
  const whole = [...bond, JSON.stringify(offer)];
  const given: Buffer[] = [];
  let shown: (() => ShownChain) | undefined;

  const put = (session: Buffer) => {
    if (!shown) return void given.push(session);
    const chain = shown();
    sessions.put(whole, writeServerSession({ session, shown: chain }), chain.until);
  };
  const forget = () => sessions.forget(whole);
  return {
    async find() {
      const bytes = await sessions.find(whole, Date.now());
      return bytes && readServerSession(bytes);
    },
    watch(stream) {
      stream.on("session", put);
      stream.on("error", (error) => {
        if (isFatalAlert(error)) forget();
      });
    },
    keep(chain, used) {
      shown = chain;
      const renewed = given.splice(0);
      for (const session of renewed) put(session);
      // A TLS 1.2 session may be resumed several times, and a server that resumes it often sends no new one.
      if (used && renewed.length === 0) put(used);
    },
    forget,
  };
}

/**
 * The chain of a full handshake, and how long it is valid: `timeout` ms, but not longer than its certificates, because
 * OpenSSL does not check their dates again. Certificates that have expired already do not count: either the chain did not
 * need them, or `code` says that it is expired.
 */
export function rememberChain(
  leaf: X509Certificate,
  code: string | undefined,
  timeout: number,
  now: number,
): ShownChain {
  const chain = [leaf, ...certificatesSentWith(leaf)];
  const ends = chain.map((certificate) => readValidity(certificate).notAfter).filter((end) => end > now);
  return { chain, code, until: Math.min(now + timeout, ...ends) };
}

interface SerializedSession {
  readonly session: string;
  /** DER in base64, separated by spaces. */
  readonly chain: string;
  readonly code?: string | undefined;
  readonly until: number;
}

function writeServerSession({ session, shown: { chain, code, until } }: ServerSession): Buffer {
  const written: SerializedSession = { session: session.toString("base64"), chain: writeChain(chain), code, until };
  return Buffer.from(JSON.stringify(written));
}

/** `bytes` need no checks: they were sealed by this node or by one that shares its secret. */
function readServerSession(bytes: Uint8Array): ServerSession {
  const { session, chain, code, until } = JSON.parse(Buffer.from(bytes).toString()) as SerializedSession;
  return { session: Buffer.from(session, "base64"), shown: { chain: readChain(chain), code, until } };
}

/** Parsed chains, by their text. Parsing a certificate costs more than resuming a session. */
const chains = new Cache<readonly X509Certificate[]>({ entries: 500 });

function writeChain(chain: readonly X509Certificate[]): string {
  return chain.map(({ raw }) => raw.toString("base64")).join(" ");
}

function readChain(text: string): readonly X509Certificate[] {
  const chain = chains.find(text) ?? text.split(" ").map((der) => new X509Certificate(Buffer.from(der, "base64")));
  chains.keep(text, chain);
  return chain;
}
