/** How many events the last second had, in tenths of it. */
export class Rate {
  readonly #counts = new Uint32Array(PARTS);
  /** The newest part that was counted. */
  #newest = 0;

  add(now: number): void {
    this.#forget(now);
    this.#counts[this.#newest % PARTS]! += 1;
  }

  at(now: number): number {
    this.#forget(now);
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  #forget(now: number): void {
    const part = Math.floor(now / LENGTH);
    for (let gone = 0; this.#newest < part && gone < PARTS; gone += 1) {
      this.#newest += 1;
      this.#counts[this.#newest % PARTS] = 0;
    }
    if (this.#newest < part) {
      this.#counts.fill(0);
      this.#newest = part;
    }
  }
}

const PARTS = 10;
/** ms */
const LENGTH = 100;
