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
}

/** One TLS end that is up: plaintext in, plaintext out. */
export interface Leg {
  readonly stream: Duplex;
  /** The TCP connection below: to reset it, never to read or write. */
  readonly socket: Socket;
  readonly negotiated: Negotiated;
}

/** A TLS option that Node has (a close_notify ends one direction, not both) and its types do not know. */
export interface HalfOpen {
  readonly allowHalfOpen: boolean;
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
  /** One sentence for people and the record. */
  readonly reason: string;
}
