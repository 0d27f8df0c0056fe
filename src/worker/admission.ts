import type { Arrival } from "../capture/arrival.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import { openFileLimit } from "../linux/limits.ts";

/** How many of this process's descriptors sessions may use. The others are for listeners, feeds and the channel. */
const DESCRIPTORS = openFileLimit() - 256;

/** The live sessions of a worker, and which connection has to go when there is no room. */
export interface Admission {
  readonly size: number;
  /** Connections refused because the node was full. */
  readonly refused: number;
  /** The node is stopping, and the sessions had their time to end. */
  readonly isOver: boolean;
  /** Carries a new session, unless there are `limit` sessions and all of them have been identified. */
  admit(arrival: Arrival, limit: number): void;
  /** The first bytes of this client's session are known, or need not be: it does not have to go for another one. */
  keep(client: End): void;
  /** Ends the sessions whose first bytes are not known yet. */
  dismiss(): void;
  /** Resets the sessions that are left. */
  cut(): void;
  /** Resolves once no session is left, or after `within` ms. */
  emptied(within: number): Promise<void>;
}

/** `carry` resolves when the session is over, with the arrival of the next one on its client's connection. */
export function createAdmission(carry: (arrival: Arrival) => Promise<Arrival | undefined>): Admission {
  /** Sessions whose first bytes are not known yet, oldest first: when the node is full, these have to go. */
  const openings = new Map<End, Arrival>();
  const arrivals = new Set<Arrival>();
  let refused = 0;
  let isOver = false;

  /** Ends the oldest session whose first bytes are not known yet. false: there is none. */
  function evict(): boolean {
    const [oldest] = openings;
    if (!oldest) return false;
    const [client, arrival] = oldest;
    openings.delete(client);
    arrivals.delete(arrival);
    client.close(new NetworkError("The node was full and this session had said nothing for longest", "EMFILE"));
    return true;
  }

  /** Carries a session, and those that follow on the same connection. They keep its place. */
  async function carryAll(first: Arrival): Promise<void> {
    for (let arrival: Arrival | undefined = first; arrival; ) {
      const next: Arrival | undefined = await carry(arrival);
      arrivals.delete(arrival);
      if (arrival.client) openings.delete(arrival.client);
      if (next) arrivals.add(next);
      arrival = next;
    }
  }

  return {
    get size() {
      return arrivals.size;
    },
    get refused() {
      return refused;
    },
    get isOver() {
      return isOver;
    },
    admit(arrival, limit) {
      const { client } = arrival;
      if (arrivals.size >= limit && !evict()) {
        refused += 1;
        if (client) client.reset();
        else arrival.refuse({ kind: "timeout", message: "The node is full" });
        return;
      }
      arrivals.add(arrival);
      if (client) openings.set(client, arrival);
      void carryAll(arrival);
    },
    keep: (client) => void openings.delete(client),
    dismiss() {
      for (const client of [...openings.keys()]) client.close();
    },
    cut() {
      isOver = true;
      for (const { client } of [...arrivals]) client?.reset();
    },
    async emptied(within) {
      const deadline = Date.now() + within;
      while (arrivals.size > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    },
  };
}

/** How many sessions this worker may have: its share of the configured limit, but no more than it has descriptors for. */
export function capacity(sessions: number, workers: number, tools: number): number {
  // Na and Nb, and Ta and Tb of each tool.
  const affordable = Math.floor(DESCRIPTORS / (2 + 2 * tools));
  return Math.max(1, Math.min(Math.ceil(sessions / workers), affordable));
}
