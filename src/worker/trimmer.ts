/** CPU seconds in one second below which a worker is quiet. */
const QUIET = 0.1;
/** CPU seconds of work that may have left memory free. */
const WORTH = 1;

/**
 * Gives memory that was freed back to the kernel once a worker has become quiet. Handshakes leave gaps between what lives on, which
 * malloc keeps for the next ones.
 */
export class Trimmer {
  readonly #trim: () => void;
  #seen = 0;
  #trimmed = 0;

  constructor(trim: () => void) {
    this.#trim = trim;
  }

  /**
   * Called once a second, and no more often: after a shorter time every worker would seem quiet. `cpu`: CPU seconds that this process has
   * used since its start.
   */
  look(cpu: number): void {
    const used = cpu - this.#seen;
    this.#seen = cpu;
    if (used >= QUIET || cpu - this.#trimmed < WORTH) return;
    this.#trimmed = cpu;
    this.#trim();
  }
}
