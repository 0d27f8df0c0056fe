import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Agreement } from "../detect/starttls/dialogue.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import type { Side } from "../vocabulary.ts";

/** One peer. Its bytes are on the stream, which is TLS or TCP; the TCP connection below can be reset. */
export interface Peer {
  readonly stream: Socket;
  readonly socket: Socket;
}

/** The peers' agreement to TLS or to a tunnel. */
export interface TimedAgreement extends Agreement {
  /** When they agreed, in ms since the epoch. */
  readonly at: number;
}

/**
 * A conversation that begins in plaintext on one pair of streams and may continue on another pair, decrypted. Its two ends
 * can be relayed as one conversation.
 */
export interface UpgradableConversation {
  readonly client: Peer;
  readonly server: Peer;
  /**
   * Resolves once the peers have agreed to TLS: from then on nothing is read from either of them. Undefined: they can no
   * longer agree, and the conversation continues as it is. Rejects with a PeerError when a peer broke the protocol.
   */
  next(): Promise<TimedAgreement | undefined>;
  /** Stops writing to the peers, because their TLS begins. */
  hold(): void;
  /** Continues on these streams. Without a `watch` the conversation goes on to its end. */
  resume(client: Socket, server: Socket, watch: Watch | undefined): void;
  /** Ends the conversation and leaves its peers connected. Can be called at any time. */
  leave(): void;
}

export function openUpgradableConversation(client: Peer, server: Peer, first: Watch): UpgradableConversation {
  let watch: Watch | undefined = first;
  let agreement = Promise.withResolvers<TimedAgreement | undefined>();
  // A rejection must not end the process if the relay is over before anybody waits for the agreement.
  agreement.promise.catch(() => {});

  const see = (side: Side, bytes: Buffer): number => {
    if (!watch) return bytes.length;
    try {
      const progress = watch.feed(side, bytes);
      if (progress.kind === "more") return bytes.length;
      watch = undefined;
      if (progress.kind === "no") {
        agreement.resolve(undefined);
        return bytes.length;
      }
      ends.client.stop();
      ends.server.stop();
      const agreed = { ...progress.agreement, at: Date.now() };
      // The client's last bytes must have been written to the server before the node begins TLS with it.
      const said = ends.client.taken + (side === "client" ? progress.at : 0);
      if (side === "client") ends.server.whenWritten(said, () => agreement.resolve(agreed));
      else agreement.resolve(agreed);
      return progress.at;
    } catch (error) {
      ends.client.stop();
      ends.server.stop();
      agreement.reject(error);
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
    next: () => agreement.promise,
    hold() {
      ends.client.hold();
      ends.server.hold();
    },
    resume(nextClient, nextServer, nextWatch) {
      watch = nextWatch;
      agreement = Promise.withResolvers();
      agreement.promise.catch(() => {});
      if (!nextWatch) agreement.resolve(undefined);
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
 * A peer inside TLS, for a second TLS session inside the first. Node would put the inner TLS stream directly on the handle of
 * the outer one, where the end of one during a write of the other crashes the process. This stream keeps them apart.
 */
export function openTunnel(peer: Peer): Peer {
  const inside = new ConversationEnd(peer, (bytes) => bytes.length);
  return { stream: inside as unknown as Socket, socket: peer.socket };
}

/** An end has all methods of a socket that a relay uses. */
function peerOf(end: ConversationEnd): Peer {
  const socket = end as unknown as Socket;
  return { stream: socket, socket };
}

/** As for TLS legs: legs/leg.ts. */
const HIGH_WATER_MARK = 128 * 1024;

/** One end of a conversation: a stream on top of another stream, which can be replaced. */
class ConversationEnd extends Duplex {
  readonly #tcp: Socket;
  readonly #see: (bytes: Buffer) => number;
  #on: Socket;
  #wanted = false;
  #reading = false;
  #held = false;
  #left = false;
  /** The write that waits until the stream below takes more, or until a hold ends. */
  #waiting: (() => void) | undefined;
  #awaited: { readonly length: number; readonly then: () => void } | undefined;
  #idle: { readonly timer: NodeJS.Timeout } | undefined;
  #written = 0;
  /** How many bytes of this peer belonged to the conversation. */
  taken = 0;

  /** `see` answers how many of the bytes belong to the conversation. The others go back to the stream below. */
  constructor({ stream, socket }: Peer, see: (bytes: Buffer) => number) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_MARK });
    this.#tcp = socket;
    this.#see = see;
    this.#on = stream;
    // The relay listens for errors. When there is none, an error must not end the process.
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

  /** Calls `then` once this many bytes have been written to this peer. */
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

  /** As a socket's: closes once all is written. */
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
    // The stream broke before and will emit no more events.
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
