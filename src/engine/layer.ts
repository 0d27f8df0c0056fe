/**
 * What stands on a TCP connection: TLS or SSL 3.0, and TLS again inside of TLS. A layer reads from and writes to the wire below it
 * and offers the same to what is above.
 */

/** What `read` answers instead of a number of bytes. */
export const NOTHING_NOW = 0;
/** The peer has ended its direction: a FIN, or close_notify where there is TLS. */
export const END = -1;
/** The connection ended without close_notify: what came may have been cut off (RFC 8446, section 6.1). */
export const TRUNCATED = -2;
/** The connection was reset, or is broken in another way. */
export const RESET = -3;
/** The peer broke the protocol, or sent a fatal alert: `failure` of the layer says which. */
export const BROKEN = -4;

/** A two-way stream of bytes in memory of the engine's. No method waits. */
export interface Wire {
  /** Reads up to `room` bytes to this address. Answers how many came, or one of the numbers above. */
  read(at: number, room: number): number;
  /**
   * Takes all of these bytes, at most SCRATCH of them. False: not all could be sent, and nothing more may be written before `flush`
   * answers true. Bytes for a broken connection are dropped.
   */
  write(at: number, length: number): boolean;
  /** Sends what could not be sent before. True: nothing is left. */
  flush(): boolean;
  /** Says close_notify, where there is TLS: nothing more will be written. `flush` must have answered true. */
  finish(): void;
  /** A write has failed: nothing that is written will arrive. */
  readonly isBroken: boolean;
}

/** What a layer needs of the connection that carries it. */
export interface Carrier {
  readonly fd: number;
  readonly isLayered: boolean;
  /** Bytes were put back, which come before those on the connection. */
  readonly hasUnread: boolean;
  /** The peer has sent a RST, which the kernel may have told already. */
  readonly isReset: boolean;
  takeWire(): Wire;
  /** How many of these bytes the socket took; -1 when the connection is broken. */
  send(at: number, length: number): number;
}

/** Why a layer does not speak any more. */
export interface LayerFailure {
  /** "alert": the peer sent a fatal one. "protocol": the peer broke the protocol, and was told. "network": the connection ended. */
  readonly cause: "alert" | "protocol" | "network";
  /** The alert received, or the one that says the same to the other side (RFC 8446, section 6.2). */
  readonly alert: number;
  /** "ERR_SSL_WRONG_VERSION_NUMBER", or the system's code. For the record; nothing is decided by it. */
  readonly code: string;
  /** Why, in words, where our own implementation says more than the code. */
  readonly detail?: string;
}

/**
 * What a step of the handshake came to. "waiting": it goes on when the peer has sent more. "certificate wanted": the server asks
 * for a client certificate and has not been answered yet; the next step answers with none.
 */
export type HandshakeStep = "up" | "waiting" | "certificate wanted" | LayerFailure;

/** What both sides agreed on. Names are IANA's. */
export interface Agreed {
  /** The protocol version's number: 0x0304 is TLS 1.3. */
  readonly version: number;
  /** The cipher suite, by IANA's name. */
  readonly suite: string;
  /** The key exchange group, by OpenSSL's name; undefined: there was none. */
  readonly group: string | undefined;
  /** Undefined: no protocol was negotiated. */
  readonly alpn: string | undefined;
  /** The handshake was abbreviated. */
  readonly resumed: boolean;
}

/** What a server's end had told the client when the handshake failed. */
export interface Told extends Agreed {
  /** The server's Finished, which may have been all that this client waited for. */
  readonly finished: boolean;
}

export interface Layer extends Wire {
  handshake(): HandshakeStep;
  /** Of a server's end: what it has chosen; undefined: it has sent no ServerHello. */
  told(): Told | undefined;
  /** Valid once the handshake is up. */
  agreed(): Agreed;
  /** What `read` meant by BROKEN or RESET. */
  readonly failure: LayerFailure | undefined;
  /** Fatal alerts, and close_notify, by number; undefined: none. */
  readonly alertReceived: number | undefined;
  readonly alertSent: number | undefined;
  /** The connection goes on as another end (`End.detach`). */
  moveTo(carrier: Carrier): void;
  /** Frees what C holds. Called once, by the end that the layer stands on. */
  free(): void;
}
