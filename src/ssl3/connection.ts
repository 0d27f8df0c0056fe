import type { Suite } from "./suites.ts";

/** What can be resumed: RFC 6101, section 5.5. Secret. */
export interface SavedSession {
  readonly id: Buffer;
  readonly suite: number;
  readonly master: Buffer;
  /** What the server showed, DER, its own first. Empty on the server's side. */
  readonly certificates: readonly Buffer[];
}

/** What both sides agreed on. */
export interface Established {
  readonly suite: Suite;
  /** Undefined: the suite has no group, or the session was resumed. */
  readonly group: string | undefined;
  readonly resumed: boolean;
  /** Undefined: the server will not resume it. */
  readonly session: SavedSession | undefined;
  readonly certificates: readonly Buffer[];
  /** With the master secret, what a key log needs. Secret. */
  readonly clientRandom: Uint8Array;
  readonly master: Buffer;
}

export type Happening =
  | { readonly kind: "open"; readonly established: Established }
  | { readonly kind: "data"; readonly bytes: Buffer }
  /** close_notify: nothing more comes, and nothing was cut off. */
  | { readonly kind: "end" }
  /** The peer's fatal alert; close_notify before the handshake was over. Nothing more can be said. */
  | { readonly kind: "alert"; readonly description: number };

/** One side of SSL 3.0, without I/O: bytes of the wire go in by `receive`, bytes for the wire come out by `take`. */
export interface Connection {
  /**
   * Reads what the peer sent; the bytes belong to the connection from then on. Throws PeerError, once: the alert that
   * says so to the peer can then be taken.
   */
  receive(bytes: Buffer): Generator<Happening, void>;
  /** Application data, once open. */
  send(bytes: Uint8Array): void;
  /** close_notify, once open: nothing can be sent after it. */
  close(): void;
  /** All that waits to be sent. */
  take(): Buffer;
  /** The server has asked for a certificate, which a client of this engine never has. */
  readonly certificateRequested: boolean;
}
