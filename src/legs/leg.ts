import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

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

/** The code of a leg whose peer sent a FIN and no close_notify, as OpenSSL calls it: what came may have been cut off. */
export const TRUNCATED = "ERR_SSL_UNEXPECTED_EOF_WHILE_READING";

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
