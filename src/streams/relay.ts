import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";

/** One end of a relay. For bytes as they are `stream` and `socket` are the same; for a TLS leg the stream is the plaintext. */
export interface RelayEnd {
  readonly stream: Duplex;
  /** The TCP connection below, which can be reset. */
  readonly socket: Socket;
  /** Bytes of this side that were read before the relay began: they go first. */
  readonly head?: Buffer | undefined;
  /** Takes off what stands in front of this side's bytes and is not the session's. */
  readonly sieve?: Sieve | undefined;
  /** What broke it, when that was before the relay began. */
  readonly failure?: NodeJS.ErrnoException | undefined;
}

export interface Sieve {
  /** What is left of these bytes; it may keep some until it knows. */
  take(bytes: Buffer): Buffer;
  /** This side has ended: what was kept. */
  end(): Buffer;
}

/** Sees what passes, in order: feeds are taps. */
export interface Tap {
  data(from: Side, bytes: Uint8Array): void;
  end(from: Side): void;
  reset(from: Side): void;
  /** When it can take more; undefined: now. */
  pressure(): Promise<void> | undefined;
}

/** Bytes from and to each side, counted while they pass; read at any time. Tools in between may change how many there are. */
export interface Meter {
  fromClient: number;
  fromServer: number;
  toClient: number;
  toServer: number;
}

/** What the two ends are called when one of them is to blame. */
export interface Parties {
  readonly client: string;
  readonly server: string;
}

const PEERS: Parties = { client: "The client", server: "The server" };

/** How it ended. */
export interface RelayEnding {
  readonly reason: string;
  readonly clientLeft: "closed" | "reset" | null;
  readonly serverLeft: "closed" | "reset" | null;
  /** Who ended its direction first, when nothing broke before. */
  readonly first: Side | undefined;
  /** The error that ended it, when one did: whose side, and what. */
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
 * Carries bytes between two ends until both have left: with backpressure, half-closes and resets carried across. A TLS
 * error on one side resets the other, because ending it would make a broken stream look complete. A missing close_notify
 * is missing on the other side too, behind all that came before.
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
      // A write that fails says that the peer reset the connection before.
      const reset = error.code === "ECONNRESET" || error.code === "EPIPE";
      left[side] = reset ? "reset" : left[side];
      // A NetworkError is the node's own word: the tool in between has failed, say.
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
    // Every byte passes the client's stream, so its own timer knows of all activity. When it has closed, what waits for
    // the server to take it has as long again: a server may have ended its own direction and read nothing any more.
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
          // A tap that is full holds the reader back, and the reader's TCP window the peer.
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
        // Destroyed before both of its directions had ended: the other must not wait for it, nor take what came for the whole.
        if (!isCut && (left[side] === null || !from.stream.writableFinished)) abort(to);
        closed();
      });
      from.stream.resume();
      if (from.head?.length) pass(from.head);
      if (from.stream.readableEnded) ended();
      // It broke before the relay began: its events are over.
      if (from.stream.destroyed) {
        broken(side, to, from.failure ?? Object.assign(new Error(), { code: "ECONNRESET" }));
        closed();
      }
    }
  });
}

/** Only TLS can tell an end from a cut; for anything else a FIN is an end. */
function canBeCut({ stream, socket }: RelayEnd): boolean {
  return stream !== socket && !stream.destroyed && !stream.writableEnded;
}

/** Sends a FIN without close_notify, once all that was written has been sent. */
function cut({ stream, socket }: RelayEnd): void {
  stream.pause();
  stream.write(Buffer.alloc(0), () => {
    socket.end(() => {
      stream.destroy();
      socket.destroy();
    });
  });
}

/** ms that a shutdown under way may take before the connection is closed without a RST. */
const SHUTDOWN = 1_000;

/** Ends a connection with a RST. */
export function abort({ stream, socket }: RelayEnd): void {
  const now = () => {
    if (!socket.destroyed) socket.resetAndDestroy();
    if (!stream.destroyed) stream.destroy();
  };
  // libuv refuses a reset while a shutdown is under way, and Node then forgets the descriptor, which stays open for ever.
  const shuttingDown = stream.writableEnded && stream.writableLength === 0 && !stream.writableFinished;
  if (!shuttingDown || stream.destroyed) {
    now();
    return;
  }
  const late = setTimeout(() => socket.destroy(), SHUTDOWN);
  stream.once("close", () => clearTimeout(late));
  stream.once("finish", now);
}

/** The code of a leg whose peer sent a FIN and no close_notify, as OpenSSL calls it: what came may have been cut off. */
export const TRUNCATED = "ERR_SSL_UNEXPECTED_EOF_WHILE_READING";
