import type { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { TicketKeys } from "../resumption/ticket-keys.ts";

/** What the two sides of one leg agreed on. Names are IANA's. */
export interface Negotiated {
  readonly version: string;
  readonly suite: string;
  /** Undefined: the suite has no key exchange group. */
  readonly group: string | undefined;
  /** Undefined: no protocol was negotiated. */
  readonly alpn: string | undefined;
  /** An earlier session was resumed, with an abbreviated handshake. */
  readonly resumed: boolean;
}

/** One TLS end that is up: plaintext in, plaintext out. */
export interface Leg {
  readonly stream: Duplex;
  /** The TCP connection below: to reset it, never to read or write. */
  readonly socket: Socket;
  readonly negotiated: Negotiated;
}

/** Takes one line of the NSS key log format, with its newline: a key of a leg, during the handshake. */
export type KeyTaker = (line: Buffer) => void;

/** Stream options that Node's TLS accepts, although its types do not list them. */
export interface StreamOptions {
  readonly allowHalfOpen: boolean;
  readonly highWaterMark: number;
}

/**
 * A close_notify ends one direction, not both. A leg takes 128 KiB before it pushes back: with Node's 64 KiB a fast session
 * spends a seventh more CPU on being paused and resumed; above 128 KiB nothing is gained.
 */
export const STREAM: StreamOptions = { allowHalfOpen: true, highWaterMark: 128 * 1024 };

const NOTHING = Buffer.alloc(0);

/**
 * Makes a leg fail when the connection below it is broken. If a write of Node's TLS itself failed (its last flight, or a
 * ticket), Node forgets the error: later writes wait for ever, and because the kernel reports a reset only once, the reset
 * looks like the peer's end. But any later write to the connection fails again, even an empty one. It is made only when the
 * leg has something to write: a peer that has sent everything and left is no error.
 */
export function hearBreaks(stream: Duplex, socket: Socket): void {
  const probe = () => {
    if (socket.writable) socket.write(NOTHING, (error) => error && stream.destroy(error));
  };
  stream.once("end", () => {
    if (stream.writableLength > 0) return probe();
    const { _write } = stream;
    stream._write = (...write) => {
      stream._write = _write;
      stream._write(...write);
      probe();
    };
  });
}

/** Why a leg did not come up: an expected outcome. */
export interface LegFailure {
  readonly kind: "failed";
  /** "alert": the peer sent one. "protocol": this node refused the peer. "network": the connection ended. */
  readonly cause: "alert" | "protocol" | "network" | "timeout";
  /** The alert that tells the other side why: RFC 8446, section 6.2. */
  readonly alert: number;
  /** OpenSSL's or the system's code. */
  readonly code: string;
  /** The server was offered an earlier session, and may have broken on that. */
  readonly resuming?: boolean;
  /** One sentence for people and the record. */
  readonly reason: string;
}

/** The TLS session with the server, and what the server showed. */
export interface ServerLeg extends Leg {
  readonly kind: "up";
  readonly certificate: X509Certificate;
  /** The other certificates of the chain, for a resumed session and SSL 3.0. Otherwise `certificate` links to them. */
  readonly sent?: readonly X509Certificate[];
  /**
   * OpenSSL's verification code, such as "CERT_HAS_EXPIRED"; undefined: the chain is good. It does not cover the host name.
   * "NOT_VERIFIED": OpenSSL did not see the chain.
   */
  readonly verifyCode: string | undefined;
  /** The OCSP response that the server stapled to its certificate, as it came. */
  readonly staple?: Buffer | undefined;
}

/** The TLS session with the client. */
export interface ClientLeg extends Leg {
  readonly kind: "up";
  /** The index of the certificate that the client was shown, if there were several. */
  readonly shown?: number;
}

/** A certificate for the client. If there are several, of different key types, OpenSSL shows one that the client can verify. */
export interface Presentable {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** How a client may resume an earlier session. */
export interface ClientResumption {
  /** By session identifier, up to TLS 1.2. Undefined: not allowed. */
  readonly sessions: SessionKeeper | undefined;
  /** By ticket. Empty: not allowed. */
  readonly ticketKeys: TicketKeys;
  /** What must be the same in both sessions. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}
