/** How fast the clock of the retention may go, beside the time that passes. */
const CATCHING_UP = 24;

/**
 * The time that the age of old sessions is measured against, in ms since the epoch. A machine's clock may be set to anything for a while,
 * and what has been removed meanwhile is gone. So this clock begins with the newest session on record, passes as time does, and goes
 * only somewhat faster where the machine's clock is ahead of it: a step of 40 days for 3 s costs a minute's sessions, and after 40 days
 * without a node the old ones go within two.
 */
export class RetentionClock {
  #time: number;
  #seen: number;

  /** `newest`: the latest time on record. `wall`: the machine's clock. `passed`: a clock that nobody sets, in ms. */
  constructor(newest: number, wall: number, passed: number) {
    this.#time = Math.min(newest, wall);
    this.#seen = passed;
  }

  now(wall: number, passed: number): number {
    const elapsed = Math.max(0, passed - this.#seen);
    this.#seen = passed;
    // The machine's clock may also have been set back.
    this.#time = Math.min(wall, this.#time + elapsed * (1 + CATCHING_UP));
    return this.#time;
  }
}
