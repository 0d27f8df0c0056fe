import type { Applied } from "../sessions/table.ts";

/** Sessions whose changes are remembered: more than change while a browser connects again. */
const REMEMBERED = 20_000;

/** Which sessions changed last, so that a client that comes back learns what it has missed. Changes have numbers that rise. */
export class ChangeLog {
  readonly #most: number;
  /** The number of each session's last change, the oldest first. */
  readonly #changes = new Map<string, number>();
  /** Changes up to this one are not all remembered. */
  #forgotten = 0;
  #last = 0;

  constructor(most = REMEMBERED) {
    this.#most = most;
  }

  get last(): number {
    return this.#last;
  }

  note({ opened, changed, closed }: Applied): void {
    this.#last += 1;
    for (const { id } of [...opened, ...changed, ...closed]) {
      this.#changes.delete(id);
      this.#changes.set(id, this.#last);
    }
    for (const [id, number] of this.#changes) {
      if (this.#changes.size <= this.#most) break;
      this.#changes.delete(id);
      this.#forgotten = number;
    }
  }

  /** The sessions that changed after this change, the oldest change first. Undefined: it is not known which. */
  since(number: number): string[] | undefined {
    if (!(number >= this.#forgotten && number <= this.#last)) return undefined;
    return [...this.#changes].filter(([, at]) => at > number).map(([id]) => id);
  }
}
