import type { Agreement } from "../detect/starttls/dialogue.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import type { End } from "../engine/end.ts";
import type { Side } from "../vocabulary.ts";

/** An agreement of the peers, and when it was made, in ms since the epoch. */
export interface TimedAgreement extends Agreement {
  readonly at: number;
}

/**
 * A conversation that begins in plaintext and may be upgraded to TLS, on the same two ends. A relay carries it; this decides how
 * far. Once the peers have agreed, the bytes behind the agreement stay in their sockets, where TLS begins with them.
 */
export class UpgradableConversation {
  readonly #ends: Readonly<Record<Side, End>>;
  #watch: Watch | undefined;
  #next = Promise.withResolvers<TimedAgreement | undefined>();
  /** Bytes of the client that have passed. */
  #fromClient = 0;
  /** Bytes that had been written to the server before the conversation. */
  readonly #before: number;

  constructor(client: End, server: End, watch: Watch) {
    this.#ends = { client, server };
    this.#watch = watch;
    this.#before = server.written;
    // The relay may be over before anybody asks.
    this.#next.promise.catch(() => {});
    client.gate = (bytes) => this.#pass("client", bytes);
    server.gate = (bytes) => this.#pass("server", bytes);
  }

  /**
   * Resolves once the peers have agreed to TLS: nothing more is read from either of them. Undefined: they never will, and the
   * conversation goes on as it is. Rejects with a PeerError when one of them broke the protocol.
   */
  next(): Promise<TimedAgreement | undefined> {
    return this.#next.promise;
  }

  /** Nothing more is written to the peers: their TLS begins. */
  hold(): void {
    for (const end of Object.values(this.#ends)) end.held = "reads and writes";
  }

  /** Goes on, on what the ends have become; without a watch to its end. */
  resume(watch: Watch | undefined): void {
    this.#watch = watch;
    this.#next = Promise.withResolvers();
    this.#next.promise.catch(() => {});
    if (!watch) this.#next.resolve(undefined);
    for (const end of Object.values(this.#ends)) {
      end.held = "nothing";
      if (!watch) end.gate = undefined;
      if (end.relay) end.loop.enqueue(end.relay);
    }
  }

  /** The conversation is over for its relay, its tools and feeds. Its peers go on on the ends that this answers. */
  leave(): { readonly client: End; readonly server: End } {
    const { client, server } = this.#ends;
    for (const end of [client, server]) {
      end.held = "nothing";
      end.gate = undefined;
    }
    return { client: client.detach(), server: server.detach() };
  }

  #pass(side: Side, bytes: Buffer): number {
    const passed = this.#judge(side, bytes);
    if (side === "client") this.#fromClient += passed;
    return passed;
  }

  #judge(side: Side, bytes: Buffer): number {
    if (!this.#watch) return bytes.length;
    try {
      const progress = this.#watch.feed(side, bytes);
      if (progress.kind === "more") return bytes.length;
      this.#watch = undefined;
      if (progress.kind === "no") {
        this.#next.resolve(undefined);
        return bytes.length;
      }
      this.#stopReading();
      const agreed = { ...progress.agreement, at: Date.now() };
      if (side === "client") this.#whenWritten(this.#fromClient + progress.at, () => this.#next.resolve(agreed));
      else this.#next.resolve(agreed);
      return progress.at;
    } catch (error) {
      this.#stopReading();
      this.#next.reject(error);
      return 0;
    }
  }

  #stopReading(): void {
    for (const end of Object.values(this.#ends)) end.held = "reads";
  }

  /** What the client says last must be with the server before the node speaks to the server. */
  #whenWritten(length: number, then: () => void): void {
    const { server } = this.#ends;
    server.onWritten = (total) => {
      if (total - this.#before < length) return;
      server.onWritten = undefined;
      then();
    };
  }
}
