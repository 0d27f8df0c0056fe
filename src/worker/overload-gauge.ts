import type { Load, OverloadLevel } from "../vocabulary.ts";

/**
 * How one measure makes the node overloaded, and how it gets over it. Given values and times come in, a level comes out: nothing here
 * measures or waits.
 */

/** Of a threshold: between its two thirds and the middle above them, five sixths. */
const BELOW_MIDDLE = 0.75;

/** These fall because new sessions are not decrypted, so their fall alone does not say that the node could decrypt them. */
const FALL_BY_BYPASSING: readonly Load[] = ["eventLoopDelay", "cpu"];

/** ms for which such a fall is not believed: at first, and at most after several relapses. */
const PATIENCE = { first: 10_000, longest: 40_000 };
/** ms after its end within which another overload is a relapse. */
const RELAPSE = 30_000;
/**
 * How the fall is put to the test, in ms: first with few of the new sessions, which do no harm if the node can do no more, then with half
 * of them.
 */
const TRIAL = { few: 250, half: 500 };
/** One new session of `every` is decrypted. With all of them a delay would be so many `times` as long at least. */
const FEW = { every: 8, times: 4 };
const HALF = { every: 2, times: 2 };
/** ms after the threshold was met in which the rate of new sessions becomes fully known. */
const WINDOW = 1_000;
/** ms for which the rate must be lower to count as such: a busy worker accepts sessions in bursts. */
const LULL = 300;

export interface Moment {
  /** ms of a clock that never goes back. */
  readonly now: number;
  /** New sessions in the last second. */
  readonly rate: number;
}

/**
 * The level for a value, after another level: at the threshold "all"; falling, at the middle between it and its two thirds "half"; at two
 * thirds "none". Between these the level stays.
 */
export function levelAt(before: OverloadLevel, value: number, threshold: number): OverloadLevel {
  if (value >= threshold) return "all";
  if (before === "none" || value * 3 <= threshold * 2) return "none";
  return before === "half" || value * 6 <= threshold * 5 ? "half" : "all";
}

export class Gauge {
  readonly load: Load;
  #level: OverloadLevel = "none";
  /** What "half" means now. */
  #part = HALF;
  /** When the level changed. */
  #since = Number.NEGATIVE_INFINITY;
  /** When the threshold was met last, the rate of new sessions then, and until when a fall is not believed. */
  #met = { at: 0, rate: 0, until: 0 };
  #patience = PATIENCE.first;
  /** The highest rate of new sessions of late, and when it was. */
  #lately = { rate: 0, at: Number.NEGATIVE_INFINITY };

  constructor(load: Load) {
    this.load = load;
  }

  get level(): OverloadLevel {
    return this.#level;
  }

  /** At "half" one new session of so many is decrypted. */
  get every(): number {
    return this.#part.every;
  }

  look(measured: number, threshold: number, moment: Moment): OverloadLevel {
    const before = this.#level;
    const value = before === "half" && this.load === "eventLoopDelay" ? this.#part.times * measured : measured;
    const counted = FALL_BY_BYPASSING.includes(this.load) ? this.#believed(value, threshold, moment) : value;
    this.#level = levelAt(before, counted, threshold);
    if (value >= threshold && before !== "all") this.#meet(moment, before === "half");
    if (this.#level !== before) this.#since = moment.now;
    const isTrial = FALL_BY_BYPASSING.includes(this.load) && moment.now >= this.#met.until;
    this.#part = isTrial && moment.now - this.#since < TRIAL.few ? FEW : HALF;
    return this.#level;
  }

  #meet({ now, rate }: Moment, isTrial: boolean): void {
    const isRelapse = isTrial || now - this.#since < RELAPSE;
    this.#patience = isRelapse ? Math.min(this.#patience * 2, PATIENCE.longest) : PATIENCE.first;
    this.#met = { at: now, rate, until: now + this.#patience };
  }

  /**
   * The value, as if the sessions had been decrypted: as many new sessions as when the threshold was met would meet it again. After a time
   * this is put to the test, with half of the sessions first: what filled the node may have been something else.
   */
  #believed(value: number, threshold: number, { now, rate }: Moment): number {
    if (this.#level === "none") return value;
    if (now - this.#met.at < WINDOW) this.#met.rate = Math.max(this.#met.rate, rate);
    if (now < this.#met.until) {
      const { rate: met } = this.#met;
      if (rate >= this.#lately.rate || now - this.#lately.at > LULL) this.#lately = { rate, at: now };
      return met === 0 ? value : Math.max(value, (threshold * Math.min(this.#lately.rate, met)) / met);
    }
    const isTrying = this.#level === "all" || now - this.#since < TRIAL.few + TRIAL.half;
    return isTrying ? Math.max(value, threshold * BELOW_MIDDLE) : value;
  }
}
