/** How many wrong tokens one peer may show. */
export interface TryLimits {
  readonly tries: number;
  /** The time in which they count, in ms. */
  readonly within: number;
}

/** Peers that are remembered; the one that has waited longest is forgotten first. */
const PEERS_MAX = 10_000;

/** Bounds the wrong tokens that a peer may try. Times are in ms, on any clock that only rises. */
export class Tries {
  readonly #limits: TryLimits;
  readonly #peers = new Map<string, { readonly since: number; count: number }>();

  constructor(limits: TryLimits) {
    this.#limits = limits;
  }

  /** Counts a wrong token. true: it is the one that uses the last try. */
  fail(peer: string, now: number): boolean {
    const entry = this.#current(peer, now) ?? { since: now, count: 0 };
    entry.count += 1;
    this.#peers.set(peer, entry);
    if (this.#peers.size > PEERS_MAX) this.#peers.delete(this.#peers.keys().next().value!);
    return entry.count === this.#limits.tries;
  }

  /** For how many ms the peer has no try left. */
  waits(peer: string, now: number): number {
    const entry = this.#current(peer, now);
    return entry && entry.count >= this.#limits.tries ? entry.since + this.#limits.within - now : 0;
  }

  #current(peer: string, now: number) {
    const entry = this.#peers.get(peer);
    if (entry && now - entry.since < this.#limits.within) return entry;
    this.#peers.delete(peer);
    return undefined;
  }
}
