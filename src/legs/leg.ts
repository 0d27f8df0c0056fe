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
  /** The two came back to an earlier session, with an abbreviated handshake. */
  readonly resumed: boolean;
}

/** One TLS end that is up: plaintext in, plaintext out. */
export interface Leg {
  readonly stream: Duplex;
  /** The TCP connection below: to reset it, never to read or write. */
  readonly socket: Socket;
  readonly negotiated: Negotiated;
}

/** Takes one line of the NSS key log format, with its end: the keys of a leg, while it comes up. */
export type KeyTaker = (line: Buffer) => void;

/** TLS options that Node hands on to the stream, which its types do not know. */
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
 * Has a leg hear that the connection below it is broken. Node's TLS forgets that a write of its own failed, of its last
 * flight or of a ticket: whatever is written later waits for that one without end, and as the kernel tells of a reset only
 * once, the reset looks like the peer's end. The kernel tells it again to whoever writes to the connection, nothing even. Not
 * before there is something to write: a peer that has said all and left need not be told of anything.
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
  /** "alert": the peer refused with one. "protocol": we refused the peer. "network": the connection ended. "timeout". */
  readonly cause: "alert" | "protocol" | "network" | "timeout";
  /** The alert that says why to the other side: RFC 8446, section 6.2. */
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
  /** Those that came with it, of a resumed session and of SSL 3.0. Else they hang on it. */
  readonly sent?: readonly X509Certificate[];
  /**
   * OpenSSL's verification code, "CERT_HAS_EXPIRED"; undefined: the chain is good. The host name is not part of it. "NOT_VERIFIED":
   * OpenSSL did not see it.
   */
  readonly verifyCode: string | undefined;
  /** The OCSP response that the server stapled to its certificate, as it came. */
  readonly staple?: Buffer | undefined;
}

/** The TLS session with the client. */
export interface ClientLeg extends Leg {
  readonly kind: "up";
  /** Which of several certificates the client was shown: its place among them. Absent: there was one. */
  readonly shown?: number;
}

/** What the client is shown. Several when there is one of each key type; OpenSSL shows the one that the client can verify. */
export interface Presentable {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** How a client may come back. */
export interface ClientResumption {
  /** By identifier, up to TLS 1.2. Undefined: not at all. */
  readonly sessions: SessionKeeper | undefined;
  /** By ticket. None: not at all. */
  readonly ticketKeys: TicketKeys;
  /** What must be the same when it does. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}
