import type { Agreement } from "../detect/starttls/dialogue.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import { type FoundTls, type SearchProgress, TlsSearch } from "../detect/starttls/tls-search.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { wholeOf } from "./reading.ts";

/** An agreement of the peers, and when it was made, in ms since the epoch. */
export interface TimedAgreement extends Agreement {
  readonly at: number;
}

/** TLS that began without an agreement that was understood, and when. */
export interface TimedTls extends FoundTls {
  readonly at: number;
}

export interface ConversationOptions {
  /** ms for which bytes wait that look very much like the beginning of TLS; undefined: none wait. */
  readonly patience: number | undefined;
  /** What is not on the way to TLS does not pass. */
  readonly strict: boolean;
  /** Bytes of both sides together after which nobody looks any more; absent: there are none. */
  readonly limit?: number;
}

/** ms for which bytes wait that may begin TLS, when they may as well be anything: a program may wait for an answer to them. */
const BRIEFLY = 500;

/**
 * A conversation that begins in plaintext and may be upgraded to TLS, on the same two ends. A relay carries it; this decides how
 * far. Once the peers have agreed, the bytes behind the agreement stay in their sockets, where TLS begins with them.
 */
export class UpgradableConversation {
  readonly #ends: Readonly<Record<Side, End>>;
  #search: TlsSearch | undefined;
  readonly #patience: number | undefined;
  /** Bytes that are still looked at. */
  #left: number;
  /** What looked at the client's bytes before. It is shown those that pass. */
  #guard: End["gate"];
  #next = Promise.withResolvers<TimedAgreement | TimedTls | undefined>();
  #plain = Promise.withResolvers<"plain">();
  /** Sides whose bytes wait for more, with the timers that let them pass, and sides whose bytes wait no longer. */
  readonly #waiting = new Map<
    Side,
    { readonly timer: NodeJS.Timeout; readonly length: number; readonly due: number }
  >();
  readonly #overdue = new Set<Side>();
  /** Bytes of the client that have passed. */
  #fromClient = 0;
  /** Bytes that had been written to the server before the conversation. */
  readonly #before: number;

  constructor(
    { client, server }: { readonly client: End; readonly server: End },
    watch: Watch,
    { patience, strict, limit = Number.POSITIVE_INFINITY }: ConversationOptions,
  ) {
    this.#ends = { client, server };
    this.#search = new TlsSearch(watch, strict);
    this.#patience = patience;
    this.#left = limit;
    this.#guard = client.gate;
    this.#before = server.written;
    // The relay may be over before anybody asks.
    this.#next.promise.catch(() => {});
    client.gate = (bytes, isLast) => this.#pass("client", bytes, isLast);
    server.gate = (bytes, isLast) => this.#pass("server", bytes, isLast);
  }

  /**
   * Resolves once the peers have agreed to TLS, or one of them has begun it: nothing more is read from either of them. Undefined: nobody
   * looks for it, and the conversation goes on as it is. Rejects with a PeerError when one of them broke the protocol.
   */
  next(): Promise<TimedAgreement | TimedTls | undefined> {
    return this.#next.promise;
  }

  /** Resolves once no dialogue understands the conversation. It goes on, unless what is not on the way to TLS may not pass. */
  plain(): Promise<"plain"> {
    return this.#plain.promise;
  }

  /** Nothing more is written to the peers: their TLS begins. */
  hold(): void {
    for (const end of Object.values(this.#ends)) end.held = "reads and writes";
  }

  /** Goes on, on what the ends have become; without a watch to its end. */
  resume(watch: Watch | undefined, strict = false): void {
    this.#search = watch && new TlsSearch(watch, strict);
    this.#stopWaiting();
    this.#overdue.clear();
    this.#next = Promise.withResolvers();
    this.#plain = Promise.withResolvers();
    this.#next.promise.catch(() => {});
    if (!watch) this.#next.resolve(undefined);
    for (const end of Object.values(this.#ends)) {
      end.held = "nothing";
      end.isUnmarked = false;
      if (!watch) end.gate = end === this.#ends.client ? this.#guard : undefined;
      if (end.relay) end.loop.enqueue(end.relay);
    }
  }

  /** The conversation is over for its relay, its tools and feeds. Its peers go on on the ends that this answers. */
  leave(): { readonly client: End; readonly server: End } {
    this.#stopWaiting();
    const { client, server } = this.#ends;
    for (const end of [client, server]) {
      end.held = "nothing";
      end.gate = undefined;
    }
    return { client: client.detach(), server: server.detach() };
  }

  #pass(side: Side, bytes: Buffer, isLast: boolean): number {
    const judged = this.#judge(side, bytes, isLast);
    const isGuarded = side === "client" && this.#guard !== undefined;
    this.#ends[side].isUnmarked = isGuarded || (this.#search?.isWithin(side) ?? false);
    const passed = side === "client" ? this.#passGuard(bytes.subarray(0, judged), isLast) : judged;
    if (side === "client") this.#fromClient += passed;
    this.#left -= passed;
    if (this.#left <= 0 && this.#search) this.resume(undefined);
    return passed;
  }

  /** The guard takes itself off its end once it has seen enough. */
  #passGuard(bytes: Buffer, isLast: boolean): number {
    if (!this.#guard || bytes.length === 0) return bytes.length;
    const { client } = this.#ends;
    const own = client.gate;
    const passed = this.#guard(bytes, isLast);
    if (client.gate !== own) this.#guard = undefined;
    client.gate = own;
    return typeof passed === "number" ? passed : bytes.length;
  }

  #judge(side: Side, bytes: Buffer, isLast: boolean): number {
    if (!this.#search) return bytes.length;
    try {
      const mayWait = this.#patience !== undefined && !isLast && !this.#overdue.delete(side);
      const progress = this.#search.feed(side, bytes, mayWait);
      this.#keepWaiting(side, progress, bytes.length);
      if (progress.kind === "plain") {
        if (progress.at === 0) this.#stopReading();
        this.#plain.resolve("plain");
      }
      if (progress.kind === "upgrade" || progress.kind === "tls") this.#hasBegun(side, progress);
      return progress.at;
    } catch (error) {
      this.#stopReading();
      this.#next.reject(error);
      return 0;
    }
  }

  #hasBegun(side: Side, progress: SearchProgress & { readonly kind: "upgrade" | "tls" }): void {
    this.#search = undefined;
    this.#stopReading();
    const what = progress.kind === "tls" ? progress.found : progress.agreement;
    const begun = { ...what, at: Date.now() };
    // Where nobody begins TLS with the server, nothing need be there before.
    if (side === "server" || this.#patience === undefined) this.#next.resolve(begun);
    else this.#whenWritten(this.#fromClient + progress.at, this.#patience, () => this.#next.resolve(begun));
  }

  /** Bytes that may begin TLS wait for more, but not forever: the other side may wait for them. */
  #keepWaiting(side: Side, progress: SearchProgress, length: number): void {
    const left = progress.kind === "more" ? length - progress.at : 0;
    const before = this.#waiting.get(side);
    if (before?.length === left) return;
    clearTimeout(before?.timer);
    this.#waiting.delete(side);
    if (progress.kind !== "more" || left === 0) return;
    const letPass = () => {
      const end = this.#ends[side];
      this.#waiting.delete(side);
      this.#overdue.add(side);
      if (end.isOpen && end.relay) end.loop.enqueue(end.relay);
    };
    const now = performance.now();
    // One byte more, and one more: the first of them waits no longer than two such times.
    const due = before && progress.at === 0 ? before.due : now + wholeOf(this.#patience ?? BRIEFLY);
    const gap = (progress.telling ? this.#patience : undefined) ?? BRIEFLY;
    const timer = setTimeout(letPass, Math.min(gap, due - now)).unref();
    this.#waiting.set(side, { timer, length: left, due });
  }

  #stopWaiting(): void {
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }

  #stopReading(): void {
    for (const end of Object.values(this.#ends)) end.held = "reads";
  }

  /** What the client says last must be with the server before the node speaks to the server. */
  #whenWritten(length: number, patience: number, then: () => void): void {
    const { server } = this.#ends;
    const late = new NetworkError("What the client said before TLS did not reach the server in time", "ETIMEDOUT");
    // A tool may change what passes, and keep it.
    const timer = setTimeout(() => this.#next.reject(late), patience).unref();
    const look = (total: number) => {
      if (total - this.#before < length) return;
      server.onWritten = undefined;
      clearTimeout(timer);
      then();
    };
    server.onWritten = look;
    look(server.written);
  }
}
