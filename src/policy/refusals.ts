import { Cache } from "../cache.ts";

/**
 * Clients that refuse the certificates that the node presents for a host: they may pin the server's own certificate or key. Bounded,
 * because clients choose the hosts. Times in ms since the epoch.
 */

/** One session that a client ended because of the certificate, or at it. */
export interface Refusal {
  readonly client: string;
  /** A name or an address, and the server's port. */
  readonly host: string;
  readonly port: number;
  /** "unknown_ca", by the alert that the client sent; "left": it left at the certificate, without a word. */
  readonly how: string;
  readonly at: number;
}

/** What a client has refused, again and again, and never accepted in between. */
export interface Suggestion extends Omit<Refusal, "how" | "at"> {
  readonly refusals: number;
  /** How often it refused in which way. */
  readonly how: Readonly<Record<string, number>>;
  readonly first: number;
  readonly last: number;
}

export interface Refusals {
  /** What is known now about this client and host. */
  note(refusal: Refusal): Suggestion;
  /** The client has taken the certificate: what it refused before had another reason. */
  accept(client: string, host: string, port: number): void;
  /** Those with at least so many refusals, the latest first. */
  list(least: number): readonly Suggestion[];
  flush(): number;
  readonly size: number;
}

/** Refusals are forgotten after this time without another one. */
const FRESH = 7 * 86_400_000;
const MOST = 5_000;
/** A host has at most 253 characters. */
const MOST_BYTES = MOST * 1_024;

export function createRefusals(): Refusals {
  const known = new Cache<Suggestion>({ entries: MOST, bytes: MOST_BYTES, sizeOf: ({ host }) => 400 + host.length });
  return {
    note({ how, at, ...flow }) {
      const key = refusalKey(flow.client, flow.host, flow.port);
      const before = known.find(key, at) ?? { ...flow, refusals: 0, how: {} as Suggestion["how"], first: at };
      const counts = { ...before.how, [how]: (before.how[how] ?? 0) + 1 };
      const after = { ...before, refusals: before.refusals + 1, how: counts, last: at };
      known.keep(key, after, at + FRESH);
      return after;
    },
    accept: (client, host, port) => known.forget(refusalKey(client, host, port)),
    list: (least) =>
      known
        .entries()
        .map(([one]) => one)
        .filter(({ refusals }) => refusals >= least)
        .sort((a, b) => b.last - a.last),
    flush: () => known.flush(),
    get size() {
      return known.size;
    },
  };
}

/** Names a client and a host: what is learnt about one client holds for no other. */
export function refusalKey(client: string, host: string, port: number): string {
  return `${client} to ${host} port ${port}`;
}
