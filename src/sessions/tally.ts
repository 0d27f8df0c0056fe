import type { Outcome, Side } from "../vocabulary.ts";
import type { Session } from "./record.ts";
import { handshakeTime } from "./timeline.ts";

/** What is counted of sessions that have ended, beyond `Counters`: their outcomes, why they failed, and how long handshakes took. */

/** The upper bounds of the histogram's buckets, in seconds. */
export const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

export interface HandshakeTimes {
  readonly leg: Side;
  /** "TLSv1.3" */
  readonly version: string;
  /** For each of BUCKETS, the handshakes that took that long at most. */
  readonly within: readonly number[];
  readonly count: number;
  /** In seconds. */
  readonly sum: number;
}

export interface Ended {
  readonly listener: string;
  readonly outcome: Outcome;
  /** null: nothing went wrong. */
  readonly cause: string | null;
  readonly sessions: number;
}

export class Tally {
  readonly #ended = new Map<string, { -readonly [Key in keyof Ended]: Ended[Key] }>();
  readonly #times = new Map<string, { leg: Side; version: string; within: number[]; count: number; sum: number }>();

  /** A session has ended. */
  note(session: Session): void {
    const { listener, outcome, cause } = session;
    const key = JSON.stringify([listener, outcome, cause]);
    const ended = this.#ended.get(key) ?? { listener, outcome, cause, sessions: 0 };
    ended.sessions += 1;
    this.#ended.set(key, ended);
    for (const leg of ["client", "server"] as const) {
      const ms = handshakeTime(session, leg);
      const { version } = session[`${leg}Leg`];
      if (ms !== undefined && version !== undefined) this.#addTime(leg, version, ms / 1000);
    }
  }

  ended(): Iterable<Ended> {
    return this.#ended.values();
  }

  handshakes(): Iterable<HandshakeTimes> {
    return this.#times.values();
  }

  #addTime(leg: Side, version: string, seconds: number): void {
    const key = `${leg} ${version}`;
    const times = this.#times.get(key) ?? { leg, version, within: BUCKETS.map(() => 0), count: 0, sum: 0 };
    this.#times.set(key, times);
    for (const [index, bound] of BUCKETS.entries()) if (seconds <= bound) times.within[index]! += 1;
    times.count += 1;
    times.sum += seconds;
  }
}
