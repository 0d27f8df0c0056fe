import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Agreement } from "../detect/starttls/dialogue.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";

/** One peer: what it says is on the stream, the TCP connection below can be reset. */
export interface Peer {
  readonly stream: Socket;
  readonly socket: Socket;
}

/** An agreement of the peers, and when it was made, in ms since the epoch. */
export interface TimedAgreement extends Agreement {
  readonly at: number;
}

/**
 * A conversation that changes under way: it begins on one pair of streams, in plaintext, and goes on on another, decrypted.
 * Whoever relays its two ends sees one conversation.
 */
export interface UpgradableConversation {
  readonly client: Peer;
  readonly server: Peer;
  /**
   * Resolves once the peers have agreed to TLS: nothing is read from either of them from then on. Undefined: they never
   * will, and the conversation goes on as it is. Rejects with a PeerError when one of them broke the protocol.
   */
  next(): Promise<TimedAgreement | undefined>;
  /** Nothing more is written to the peers: their TLS begins. */
  hold(): void;
  /** Goes on on these streams. What is not watched goes on to its end. */
  resume(client: Socket, server: Socket, watch: Watch | undefined): void;
  /** Ends the conversation, but not the connections of its peers. Can be called at any time. */
  leave(): void;
}

export function openUpgradableConversation(client: Peer, server: Peer, first: Watch): UpgradableConversation {
  let watch: Watch | undefined = first;
  let turn = Promise.withResolvers<TimedAgreement | undefined>();
  // The relay may be over before anybody asks.
  turn.promise.catch(() => {});

  const see = (side: "client" | "server", bytes: Buffer): number => {
    if (!watch) return bytes.length;
    try {
      const progress = watch.feed(side, bytes);
      if (progress.kind === "more") return bytes.length;
      watch = undefined;
      if (progress.kind === "no") {
        turn.resolve(undefined);
        return bytes.length;
      }
      ends.client.stop();
      ends.server.stop();
      const agreed = { ...progress.agreement, at: Date.now() };
      // What the client says last must be with the server before the node speaks to it.
      const said = ends.client.taken + (side === "client" ? progress.at : 0);
      if (side === "client") ends.server.whenWritten(said, () => turn.resolve(agreed));
      else turn.resolve(agreed);
      return progress.at;
    } catch (error) {
      ends.client.stop();
      ends.server.stop();
      turn.reject(error);
      return 0;
    }
  };
  const ends = {
    client: new ConversationEnd(client, (bytes) => see("client", bytes)),
    server: new ConversationEnd(server, (bytes) => see("server", bytes)),
  };
  return {
    client: peerOf(ends.client),
    server: peerOf(ends.server),
    next: () => turn.promise,
    hold() {
      ends.client.hold();
      ends.server.hold();
    },
    resume(nextClient, nextServer, nextWatch) {
      watch = nextWatch;
      turn = Promise.withResolvers();
      turn.promise.catch(() => {});
      if (!nextWatch) turn.resolve(undefined);
      ends.client.resumeOn(nextClient);
      ends.server.resumeOn(nextServer);
    },
    leave() {
      ends.client.leave();
      ends.server.leave();
    },
  };
}

/**
 * A peer inside of TLS, for TLS to be spoken to in there. Node puts one TLS stream right onto another's handle, where the
 * end of one in the midst of a write of the other ends the whole process: this keeps them apart.
 */
export function openTunnel(peer: Peer): Peer {
  const inside = new ConversationEnd(peer, (bytes) => bytes.length);
  return { stream: inside as unknown as Socket, socket: peer.socket };
}

/** It has what a relay needs of a socket. */
function peerOf(end: ConversationEnd): Peer {
  const socket = end as unknown as Socket;
  return { stream: socket, socket };
}

/** As much as a TLS leg takes before it pushes back. */
const HIGH_WATER_MARK = 128 * 1024;

/** One end of a conversation: a stream whose source and sink can be changed for others. */
class ConversationEnd extends Duplex {
  readonly #tcp: Socket;
  readonly #see: (bytes: Buffer) => number;
  #on: Socket;
  #wanted = false;
  #reading = false;
  #held = false;
  #left = false;
  /** What waits for the sink to take more, or for the end of a hold. */
  #waiting: (() => void) | undefined;
  #awaited: { readonly length: number; readonly then: () => void } | undefined;
  #idle: { readonly timer: NodeJS.Timeout } | undefined;
  #written = 0;
  /** Bytes of this peer that the conversation has taken. */
  taken = 0;

  /** `see` answers how many of the bytes are the conversation's: the others go back to their stream. */
  constructor({ stream, socket }: Peer, see: (bytes: Buffer) => number) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_MARK });
    this.#tcp = socket;
    this.#see = see;
    this.#on = stream;
    // Whoever relays or reads hears of an error; in between it must not bring the process down.
    this.on("error", () => {});
    this.#listen();
  }

  resumeOn(stream: Socket): void {
    this.stop();
    this.#ignore();
    this.#on = stream;
    this.#held = false;
    if (this.destroyed || this.#left) return;
    this.#listen();
    this.#proceed();
  }

  stop(): void {
    this.#reading = false;
    this.#on.off("readable", this.#pull);
    this.#on.off("end", this.#ended);
  }

  hold(): void {
    this.#held = true;
    this.#ignore();
  }

  leave(): void {
    if (this.#left || this.destroyed) return;
    this.#left = true;
    this.stop();
    this.#ignore();
    this.#proceed();
    this.push(null);
  }

  /** Calls once so many bytes have been written to this peer. */
  whenWritten(length: number, then: () => void): void {
    this.#awaited = { length, then };
    this.#tellWritten();
  }

  /** Like a socket's: `listener` is called when nothing has passed for `ms`. */
  setTimeout(ms: number, listener?: () => void): this {
    clearTimeout(this.#idle?.timer);
    this.#idle = ms > 0 && listener ? { timer: setTimeout(listener, ms) } : undefined;
    return this;
  }

  /** As a socket counts them. */
  get bytesWritten(): number {
    return this.#written;
  }

  /** Once all is written. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once("finish", () => this.destroy());
  }

  resetAndDestroy(): this {
    if (!this.#left && !this.#tcp.destroyed) this.#tcp.resetAndDestroy();
    return this.destroy();
  }

  override _read(): void {
    this.#wanted = true;
    this.#pull();
  }

  override _write(bytes: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#left) done();
    else if (this.#held) this.#waiting = () => this._write(bytes, encoding, done);
    else {
      this.#idle?.timer.refresh();
      const drained = this.#on.write(bytes);
      this.#written += bytes.length;
      this.#tellWritten();
      if (drained) done();
      else {
        this.#waiting = done;
        this.#on.once("drain", this.#proceed);
      }
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#left) done();
    else if (this.#held) this.#waiting = () => this._final(done);
    else this.#on.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#idle?.timer);
    this.stop();
    this.#ignore();
    if (!this.#left) this.#on.destroy();
    done(error);
  }

  #listen(): void {
    this.#reading = true;
    this.#on.on("readable", this.#pull);
    this.#on.on("end", this.#ended);
    this.#on.on("error", this.#failed);
    this.#on.on("close", this.#closed);
    if (this.#on.readableEnded) this.#ended();
    // It broke before this began: its events are over.
    if (this.#on.destroyed) this.#failed(Object.assign(new Error(), { code: "ECONNRESET" }));
    else this.#pull();
  }

  #ignore(): void {
    this.#on.off("error", this.#failed);
    this.#on.off("close", this.#closed);
    this.#on.off("drain", this.#proceed);
  }

  #tellWritten(): void {
    if (!this.#awaited || this.#written < this.#awaited.length) return;
    const { then } = this.#awaited;
    this.#awaited = undefined;
    then();
  }

  readonly #proceed = (): void => {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  };

  readonly #pull = (): void => {
    while (this.#reading && this.#wanted) {
      const bytes: Buffer | null = this.#on.read();
      if (bytes === null) return;
      this.#idle?.timer.refresh();
      const seen = this.#see(bytes);
      if (seen < bytes.length) this.#on.unshift(bytes.subarray(seen));
      if (seen === 0) continue;
      this.taken += seen;
      this.#wanted = this.push(bytes.subarray(0, seen));
    }
  };

  readonly #ended = (): void => {
    this.push(null);
  };

  readonly #failed = (error: Error): void => {
    this.destroy(error);
  };

  readonly #closed = (): void => {
    if (!this.readableEnded || !this.writableFinished) this.destroy();
  };
}
