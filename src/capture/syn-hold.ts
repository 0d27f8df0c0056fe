import type { Socket } from "node:net";
import { Cache } from "../cache.ts";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival, ConnectFrom, Refusal } from "./arrival.ts";

/** What becomes of a held SYN. "drop" is silence: the client sends its SYN again, or gives up by itself. */
export type SynVerdict = "release" | "pass" | "reset" | "hostUnreachable" | "netUnreachable" | "drop";

/** A client's SYN, waiting in the kernel for its verdict. */
export interface HeldSyn {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** The initial sequence number: a SYN that is sent again has the same one, a new connection another (RFC 6528). */
  readonly sequence: number;
  /** Exactly once. */
  decide(verdict: SynVerdict): void;
}

export interface SynHold {
  /** A SYN came: it is held while the server is connected to. */
  hold(syn: HeldSyn): void;
  /** Whether this accepted connection answers a released SYN; then its session takes it over. */
  claim(client: Socket, source: Endpoint, destination: Endpoint): boolean;
  readonly size: number;
}

export interface SynHoldOptions {
  readonly listener: { readonly name: string };
  readonly connectFrom: ConnectFrom;
  /** A client whose SYN was released has this long, in ms, to complete its handshake. */
  readonly patience: number;
  /** SYNs held at one time; those above it are let through, and the server is connected to afterwards. */
  readonly limit: () => number;
  /** A session begins with its SYN. */
  readonly arrive: (arrival: Arrival) => void;
}

/** SYNs whose verdict is remembered after their session began or ended. */
const REMEMBERED = 4_096;

interface Waiting {
  readonly sequence: number;
  released: boolean;
  claimed(client: Socket): void;
}

/**
 * States 1 and 2 of docs/glossary.md: the client's SYN is held while the node connects to the server, so that a closed
 * port looks closed to the client and an unreachable host unreachable.
 */
export function createSynHold({ listener, connectFrom, patience, limit, arrive }: SynHoldOptions): SynHold {
  const waiting = new Map<string, Waiting>();
  // A SYN may be sent again while the verdict on it is on its way: it must not begin a second session.
  const decided = new Cache<SynVerdict>({ entries: REMEMBERED });
  const remember = (key: string, { sequence }: Waiting, verdict: SynVerdict) => {
    waiting.delete(key);
    // Silence is no answer: who asks again is tried for again.
    if (verdict === "drop") return;
    decided.keep(`${key} ${sequence}`, verdict);
  };

  return {
    hold(syn) {
      const key = flowKey(syn.source, syn.destination);
      const known = waiting.get(key);
      // Sent again: while the server is being connected to it adds nothing; once released it asks for the lost SYN-ACK.
      if (known) return syn.decide(known.released ? "release" : "drop");
      const before = decided.find(`${key} ${syn.sequence}`);
      if (before) return syn.decide(before);
      if (waiting.size >= limit()) return syn.decide("pass");
      return arrive(arriveHeld(syn, key));
    },
    claim(client, source, destination) {
      const key = flowKey(source, destination);
      const found = waiting.get(key);
      if (!found?.released) return false;
      remember(key, found, "release");
      found.claimed(client);
      return true;
    },
    get size() {
      return waiting.size;
    },
  };

  function arriveHeld({ source, destination, sequence, decide }: HeldSyn, key: string): Arrival {
    let client: Socket | undefined;
    let settled = false;
    const settle = (verdict: SynVerdict) => {
      if (settled) return;
      settled = true;
      decide(verdict);
      if (verdict !== "release") remember(key, entry, verdict);
    };
    const entry: Waiting = { sequence, released: false, claimed: () => {} };
    waiting.set(key, entry);
    return {
      listener: listener.name,
      mode: "inline",
      from: source,
      get client() {
        return client;
      },
      locate: async () => ({ host: destination.address, port: destination.port, connectHost: null, http: undefined }),
      dial: ([address = destination.address], port) => connectFrom(source, { address, port }),
      welcome: () =>
        new Promise((resolve, reject) => {
          const timer = setTimeout(() => {
            waiting.delete(key);
            reject(new NetworkError("The client did not complete its TCP handshake", "ETIMEDOUT"));
          }, patience);
          entry.claimed = (accepted) => {
            clearTimeout(timer);
            client = accepted;
            resolve(accepted);
          };
          entry.released = true;
          settle("release");
        }),
      refuse: (refusal) => settle(answerTo(refusal)),
    };
  }
}

/** What the network would have told the client, had no node been there. */
function answerTo(refusal: Refusal): SynVerdict {
  if (refusal.kind === "timeout") return "drop";
  if (refusal.kind === "policy") return "reset";
  return UNREACHABLE[refusal.code] ?? "reset";
}

const UNREACHABLE: Readonly<Record<string, SynVerdict>> = {
  EHOSTUNREACH: "hostUnreachable",
  EHOSTDOWN: "hostUnreachable",
  ENETUNREACH: "netUnreachable",
};

function flowKey(source: Endpoint, destination: Endpoint): string {
  return `${source.address} ${source.port} ${destination.address} ${destination.port}`;
}
