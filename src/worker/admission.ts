import type { Arrival } from "../capture/arrival.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { TurnedAway } from "../messages.ts";
import { ownerOf } from "../sessions/owner.ts";
import type { LimitName } from "../vocabulary.ts";
import { Shares } from "./shares.ts";

/** How many sessions a worker may have at one time. */
export interface AdmissionLimits {
  readonly sessions: number;
  /** What bounds `sessions`. */
  readonly bound: LimitName;
  /** For one client. */
  readonly perClient: { readonly sessions: number; readonly halfOpen: number };
}

/** The live sessions of a worker, and which one has to go when there is no room. */
export interface Admission {
  readonly size: number;
  /** Connections that were refused and sessions that were ended because a limit was met. They never fall. */
  readonly turnedAway: TurnedAway;
  /** The node is stopping, and the sessions had their time to end. */
  readonly isOver: boolean;
  /**
   * Carries a new session. When a limit is met, the client with the most sessions gives one up: first one that is half open, whose
   * first bytes are not known yet. A client that has as many as any other is refused.
   */
  admit(arrival: Arrival, limits: AdmissionLimits): void;
  /** The first bytes of this client's session are known, or need not be: it is no longer half open. */
  keep(client: End): void;
  /** Resets the session of this arrival, as an operator asked for. Nothing happens where its client is not connected yet or any more. */
  end(isMeant: (arrival: Arrival) => boolean): void;
  /** Ends the sessions whose first bytes are not known yet. */
  dismiss(): void;
  /** Resets the sessions that are left. */
  cut(): void;
  /** Resolves once no session is left, or after `within` ms. */
  emptied(within: number): Promise<void>;
}

/** One connection of a client, and its session. */
interface Place {
  readonly owner: string;
  arrival: Arrival;
}

/** Of so many of a client's sessions, the oldest ones, the most silent gives way. */
const COMPARED = 64;

/**
 * `carry` resolves when the session is over, with the arrival of the next one on its client's connection. `lastActivity`: when the
 * session of this arrival last moved a byte.
 */
export function createAdmission(
  carry: (arrival: Arrival) => Promise<Arrival | undefined>,
  lastActivity: (arrival: Arrival) => number,
): Admission {
  const places = new Shares<Place>();
  const halfOpen = new Shares<Place>();
  /** The places of clients that are connected. */
  const byClient = new Map<End, Place>();
  const turnedAway = new Map<LimitName, { refused: number; evicted: number }>();
  let size = 0;
  let isOver = false;

  function leave(place: Place): void {
    places.delete(place.owner, place);
    halfOpen.delete(place.owner, place);
    size -= 1;
  }

  function count(limit: LimitName, what: "refused" | "evicted"): void {
    const counts = turnedAway.get(limit) ?? { refused: 0, evicted: 0 };
    counts[what] += 1;
    turnedAway.set(limit, counts);
  }

  /** Ends a session. false: there is none, or its client's SYN is still held. */
  function evict(place: Place | undefined, limit: LimitName): boolean {
    const client = place?.arrival.client;
    if (!place || !client) return false;
    const isHalfOpen = halfOpen.of(place.owner).has(place);
    leave(place);
    count(limit, "evicted");
    if (isHalfOpen) {
      client.close(new NetworkError(`The node met ${limit} and this session had said nothing for longest`, "EMFILE"));
    } else {
      client.reset(new NetworkError(`The node met ${limit} and this client had the most sessions`, "EMFILE"));
    }
    return true;
  }

  /** Of a client's half-open sessions, the oldest whose client can be told. */
  function oldestOf(owner: string): Place | undefined {
    return halfOpen
      .of(owner)
      .values()
      .take(COMPARED)
      .find(({ arrival }) => arrival.client);
  }

  function mostSilentOf(owner: string): Place | undefined {
    const compared = places
      .of(owner)
      .values()
      .take(COMPARED)
      .filter(({ arrival }) => arrival.client);
    return compared.toArray().sort((a, b) => lastActivity(a.arrival) - lastActivity(b.arrival))[0];
  }

  /** Ends a session for a new one of `owner`, who has fewer than another client. false: nobody has to give way. */
  function makeRoom(owner: string, limit: LimitName): boolean {
    const largest = places.largest();
    if (largest === undefined) return false;
    if (evict(oldestOf(largest), limit)) return true;
    if (places.of(largest).size > places.of(owner).size + 1) return evict(mostSilentOf(largest), limit);
    const silent = halfOpen.largest();
    return silent !== undefined && evict(oldestOf(silent), limit);
  }

  /** The limit that keeps a new session of this client out, once others have given way. Undefined: none does. */
  function obstacle(owner: string, { sessions, bound, perClient }: AdmissionLimits): LimitName | undefined {
    const most = "limits.perClient.halfOpen";
    if (halfOpen.of(owner).size >= perClient.halfOpen && !evict(oldestOf(owner), most)) return most;
    const all = "limits.perClient.sessions";
    if (places.of(owner).size >= perClient.sessions && !evict(oldestOf(owner), all)) return all;
    return size >= sessions && !makeRoom(owner, bound) ? bound : undefined;
  }

  /** Carries a session, and those that follow on the same connection. They keep its place. */
  async function carryAll(place: Place): Promise<void> {
    for (let arrival: Arrival | undefined = place.arrival; arrival; ) {
      place.arrival = noted(arrival, place);
      const next: Arrival | undefined = await carry(place.arrival);
      halfOpen.delete(place.owner, place);
      if (arrival.client) byClient.delete(arrival.client);
      arrival = next;
    }
    if (places.of(place.owner).has(place)) leave(place);
  }

  /** The arrival, whose client's connection leads to its place as soon as there is one: after a held SYN it comes later. */
  function noted(arrival: Arrival, place: Place): Arrival {
    if (arrival.client) {
      byClient.set(arrival.client, place);
      return arrival;
    }
    const welcome = async () => {
      const client = await arrival.welcome();
      byClient.set(client, place);
      return client;
    };
    return Object.create(arrival, { welcome: { value: welcome } });
  }

  return {
    get size() {
      return size;
    },
    get turnedAway() {
      return [...turnedAway].map(([limit, counts]) => ({ limit, ...counts }));
    },
    get isOver() {
      return isOver;
    },
    admit(arrival, limits) {
      const owner = ownerOf(arrival.from.address);
      const limit = obstacle(owner, limits);
      if (limit !== undefined) {
        count(limit, "refused");
        if (arrival.client) arrival.client.reset();
        else arrival.refuse({ kind: "timeout", message: "The node is full" });
        return;
      }
      const place: Place = { owner, arrival };
      places.add(owner, place);
      halfOpen.add(owner, place);
      size += 1;
      void carryAll(place);
    },
    keep(client) {
      const place = byClient.get(client);
      if (place) halfOpen.delete(place.owner, place);
    },
    end(isMeant) {
      for (const [client, { arrival }] of byClient) {
        if (isMeant(arrival)) client.reset(new NetworkError("An operator ended the session", "ECANCELED"));
      }
    },
    dismiss() {
      for (const { arrival } of [...halfOpen.all()]) arrival.client?.close();
    },
    cut() {
      isOver = true;
      for (const { arrival } of [...places.all()]) arrival.client?.reset();
    },
    async emptied(within) {
      const deadline = Date.now() + within;
      while (size > 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    },
  };
}
