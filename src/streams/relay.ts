import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";

/** One end of a relay. For a TLS leg the stream is the plaintext; otherwise `stream` and `socket` are the same. */
export interface RelayEnd {
  readonly stream: Duplex;
  /** The TCP connection below, which can be reset. */
  readonly socket: Socket;
  /** Bytes of this side that were read before the relay began. They are sent first. */
  readonly head?: Buffer | undefined;
  /** Removes bytes in front of this side's stream that do not belong to the session. */
  readonly sieve?: Sieve | undefined;
  /** The error that broke this end before the relay began. */
  readonly failure?: NodeJS.ErrnoException | undefined;
}

export interface Sieve {
  /** Answers the session's part of these bytes. It may hold some back until it knows whose they are. */
  take(bytes: Buffer): Buffer;
  /** This side has ended. Answers the bytes that were held back. */
  end(): Buffer;
}

/** Sees the bytes that pass, in order. Feeds are taps. */
export interface Tap {
  data(from: Side, bytes: Uint8Array): void;
  end(from: Side): void;
  reset(from: Side): void;
  /** Resolves when the tap can take more; undefined: it can take more now. */
  pressure(): Promise<void> | undefined;
}

/** Counts the bytes from and to each side while they pass. The four differ when a tool in between changes the bytes. */
export interface Meter {
  fromClient: number;
  fromServer: number;
  toClient: number;
  toServer: number;
}

/** The names of the two ends in the reason for an ending. */
export interface Parties {
  readonly client: string;
  readonly server: string;
}

const PEERS: Parties = { client: "The client", server: "The server" };

export interface RelayEnding {
  readonly reason: string;
  readonly clientLeft: "closed" | "reset" | null;
  readonly serverLeft: "closed" | "reset" | null;
  /** The side that ended its direction first; undefined: the relay broke before. */
  readonly first: Side | undefined;
  /** The error that ended the relay, and the side that it came from; undefined: there was none. */
  readonly failure: { readonly side: Side; readonly error: NodeJS.ErrnoException } | undefined;
}

export interface RelayOptions {
  readonly meter: Meter;
  readonly taps: readonly Tap[];
  /** ms without a byte in either direction. */
  readonly idle: number;
  readonly parties?: Parties;
}

/**
 * Carries bytes between two ends until both have left. Backpressure, half-closes and resets are passed on. A TLS error on
 * one side resets the other side: an orderly end would make a broken stream look complete. When one side ends without
 * close_notify, the other side gets all bytes and no close_notify either.
 */
export function relay(
  client: RelayEnd,
  server: RelayEnd,
  { meter, taps, idle, parties = PEERS }: RelayOptions,
): Promise<RelayEnding> {
  return new Promise((resolve) => {
    const left: Record<Side, "closed" | "reset" | null> = { client: null, server: null };
    let reason: string | undefined;
    let failure: RelayEnding["failure"];
    let open = 2;
    let isCut = false;

    const broken = (side: Side, other: RelayEnd, error: NodeJS.ErrnoException) => {
      if (failure || reason) return;
      failure = { side, error };
      // A write fails with EPIPE after the peer has reset the connection.
      const reset = error.code === "ECONNRESET" || error.code === "EPIPE";
      left[side] = reset ? "reset" : left[side];
      // A NetworkError is from the node itself: a tool has failed, for example.
      if (error instanceof NetworkError) reason = error.message;
      else if (reset) reason = `${parties[side]} reset the connection`;
      else if (error.code === TRUNCATED) reason = `${parties[side]} ended the connection without close_notify`;
      else reason = `${parties[side]}'s connection broke: ${error.code ?? error.name}`;
      for (const tap of taps) tap.reset(side);
      isCut = error.code === TRUNCATED && canBeCut(other);
      if (isCut) cut(other);
      else abort(other);
    };
    const closed = () => {
      open -= 1;
      if (open > 0) return;
      reason ??= "Both sides closed the connection";
      resolve({ reason, clientLeft: left.client, serverLeft: left.server, first: firstToLeave, failure });
    };
    let firstToLeave: Side | undefined;

    carry("client", client, server);
    carry("server", server, client);
    // Every byte passes the client's stream, so its timer sees all activity. After it has closed, the server has the same
    // time to take the bytes that are left: it may have ended its own direction and stopped reading.
    const expire = () => {
      reason ??= `Nothing passed for ${idle / 1000} s`;
      abort(client);
      abort(server);
    };
    (client.stream as Socket).setTimeout(idle, expire);
    client.stream.once("close", () => {
      (client.stream as Socket).setTimeout(0);
      if (!server.stream.destroyed) (server.stream as Socket).setTimeout(idle, expire);
    });
    server.stream.once("close", () => (server.stream as Socket).setTimeout(0));

    function carry(side: Side, from: RelayEnd, to: RelayEnd): void {
      const [came, went] =
        side === "client" ? (["fromClient", "toServer"] as const) : (["fromServer", "toClient"] as const);
      /** Taps that hold the reader: it goes on when none does and the writer has drained. */
      let held = 0;
      const goOn = () => {
        if (held === 0 && !to.stream.writableNeedDrain) from.stream.resume();
      };
      const released = () => {
        held -= 1;
        goOn();
      };
      const arrive = (bytes: Buffer) => {
        const rest = from.sieve ? from.sieve.take(bytes) : bytes;
        if (rest.length > 0) pass(rest);
      };
      const pass = (bytes: Buffer) => {
        meter[came] += bytes.length;
        meter[went] += bytes.length;
        for (const tap of taps) {
          tap.data(side, bytes);
          // A full tap pauses the reader, whose TCP window then stops the peer.
          const pressure = tap.pressure();
          if (!pressure) continue;
          held += 1;
          from.stream.pause();
          void pressure.then(released);
        }
        if (!to.stream.write(bytes)) from.stream.pause();
      };
      from.stream.on("data", arrive);
      to.stream.on("drain", goOn);
      from.stream.on("error", (error) => broken(side, to, error));
      const ended = () => {
        const kept = from.sieve?.end();
        if (kept?.length) pass(kept);
        firstToLeave ??= side;
        left[side] ??= "closed";
        for (const tap of taps) tap.end(side);
        if (left.client && left.server) reason ??= `${parties[firstToLeave]} closed the connection`;
        to.stream.end();
      };
      from.stream.once("end", ended);
      from.stream.once("close", () => {
        // Destroyed before both directions had ended: the other side must not wait, nor believe that it got everything.
        if (!isCut && (left[side] === null || !from.stream.writableFinished)) abort(to);
        closed();
      });
      from.stream.resume();
      if (from.head?.length) pass(from.head);
      if (from.stream.readableEnded) ended();
      // The stream broke before the relay began and will emit no more events.
      if (from.stream.destroyed) {
        broken(side, to, from.failure ?? Object.assign(new Error(), { code: "ECONNRESET" }));
        closed();
      }
    }
  });
}

/** Only TLS tells a complete stream from a truncated one. Elsewhere a FIN is a proper end. */
function canBeCut({ stream, socket }: RelayEnd): boolean {
  return stream !== socket && !stream.destroyed && !stream.writableEnded;
}

/** Sends all that was written, and then a FIN without close_notify. */
function cut({ stream, socket }: RelayEnd): void {
  stream.pause();
  stream.write(Buffer.alloc(0), () => {
    socket.end(() => {
      stream.destroy();
      socket.destroy();
    });
  });
}

/** ms that a shutdown may still take before the connection is closed without a RST. */
const SHUTDOWN = 1_000;

/** Ends a connection with a RST. */
export function abort({ stream, socket }: RelayEnd): void {
  const now = () => {
    if (!socket.destroyed) socket.resetAndDestroy();
    if (!stream.destroyed) stream.destroy();
  };
  // libuv refuses a reset during a shutdown, and Node then forgets the descriptor: it would stay open for ever.
  const shuttingDown = stream.writableEnded && stream.writableLength === 0 && !stream.writableFinished;
  if (!shuttingDown || stream.destroyed) {
    now();
    return;
  }
  const late = setTimeout(() => socket.destroy(), SHUTDOWN);
  stream.once("close", () => clearTimeout(late));
  stream.once("finish", now);
}

/** OpenSSL's code for a peer that sent a FIN without close_notify: its stream may have been truncated. */
export const TRUNCATED = "ERR_SSL_UNEXPECTED_EOF_WHILE_READING";
