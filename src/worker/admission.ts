import type { Arrival } from "../capture/arrival.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import { openFileLimit } from "../linux/limits.ts";

/** What sessions may use of this process's descriptors; some are for listeners, feeds and the channel. */
const DESCRIPTORS = openFileLimit() - 256;

/** The sessions that are here, and who may come when there is no room. */
export interface Admission {
  readonly size: number;
  /** Connections refused because the node was full. */
  readonly refused: number;
  /** The node stops and the drain time is over. */
  readonly isOver: boolean;
  /** `limit`: of sessions, this one among them. */
  admit(arrival: Arrival, limit: number): void;
  /** It has said what it is, or is never asked: it is no longer the first to go. */
  keep(client: End): void;
  /** Ends the sessions that have not said yet what they are. */
  dismiss(): void;
  /** Resets whatever is left. */
  cut(): void;
  /** Resolves when no session is left, or after so many ms. */
  emptied(within: number): Promise<void>;
}

/** `carry` resolves when the session is over. */
export function createAdmission(carry: (arrival: Arrival) => Promise<void>): Admission {
  /** Sessions that have not said yet what they are, oldest first: when the node is full, these go. */
  const openings = new Map<End, Arrival>();
  const arrivals = new Set<Arrival>();
  let refused = 0;
  let isOver = false;

  /** Ends the session that has kept silent longest. false: there is none. */
  function evict(): boolean {
    const [oldest] = openings;
    if (!oldest) return false;
    const [client, arrival] = oldest;
    openings.delete(client);
    arrivals.delete(arrival);
    client.close(new NetworkError("The node was full and this session had said nothing for longest", "EMFILE"));
    return true;
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
      void carry(arrival).finally(() => {
        arrivals.delete(arrival);
        if (client) openings.delete(client);
      });
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

/** Sessions of this worker: its share of what the user allows, but never more than it has descriptors for. */
export function capacity(sessions: number, workers: number, tools: number): number {
  // Na and Nb, and Ta and Tb of each tool.
  const affordable = Math.floor(DESCRIPTORS / (2 + 2 * tools));
  return Math.max(1, Math.min(Math.ceil(sessions / workers), affordable));
}
