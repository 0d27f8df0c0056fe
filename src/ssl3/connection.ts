import type { Suite } from "./suites.ts";

/** A session that can be resumed: RFC 6101, section 5.5. Secret. */
export interface SavedSession {
  readonly id: Buffer;
  readonly suite: number;
  readonly master: Buffer;
  /** The server's certificates in DER, its own first. Empty on the server's side. */
  readonly certificates: readonly Buffer[];
}

/** The result of a handshake. */
export interface Established {
  readonly suite: Suite;
  /** Undefined: the suite uses no group, or the session was resumed. */
  readonly group: string | undefined;
  readonly resumed: boolean;
  /** Undefined: the server does not offer to resume it. */
  readonly session: SavedSession | undefined;
  readonly certificates: readonly Buffer[];
  /** For the key log, with the master secret. Secret. */
  readonly clientRandom: Uint8Array;
  readonly master: Buffer;
}

/** What a server has told the client of the handshake that is under way. */
export interface Chosen extends Pick<Established, "suite" | "group" | "resumed"> {
  /** Its Finished was sent. */
  readonly finished: boolean;
}

export type ConnectionEvent =
  | { readonly kind: "open"; readonly established: Established }
  | { readonly kind: "data"; readonly bytes: Buffer }
  /** close_notify: the peer sends no more data, and none is missing. */
  | { readonly kind: "end" }
  /** The peer's fatal alert, or its close_notify during the handshake. Nothing can be sent any more. */
  | { readonly kind: "alert"; readonly description: number };

/** One side of SSL 3.0, without I/O: `receive` takes bytes from the wire, `take` gives bytes for the wire. */
export interface Connection {
  /**
   * Reads bytes from the peer; the caller gives them away. Throws PeerError once; `take` then gives the alert for the peer.
   */
  receive(bytes: Buffer): Generator<ConnectionEvent, void>;
  /** Sends application data, once open. */
  send(bytes: Uint8Array): void;
  /** Sends close_notify, once open. Nothing can be sent after it. */
  close(): void;
  /** All bytes that wait to be sent. */
  take(): Buffer;
  /** Whether the server has asked for a certificate, which a client of this engine never has. */
  readonly certificateRequested: boolean;
  /** Of a server, once it has sent its ServerHello. */
  readonly chosen: Chosen | undefined;
}
