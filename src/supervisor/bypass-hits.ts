import { bypassOfRule } from "../policy/bypass.ts";
import type { SessionChange } from "../sessions/table.ts";

export interface Hits {
  readonly count: number;
  /** ms since the epoch. */
  readonly last: number;
}

/** How many sessions each bypass has decided, in all workers. */
export class BypassHits {
  readonly #hits: Map<string, Hits>;
  /** Hits that are not in the file. */
  changed = false;

  constructor(hits: Iterable<readonly [id: string, hits: Hits]>) {
    this.#hits = new Map(hits);
  }

  of(id: string): Hits | undefined {
    return this.#hits.get(id);
  }

  /** A worker reports a rule once, with the change in which it decided. */
  note(changes: readonly SessionChange[], known: ReadonlySet<string>, now: number): void {
    for (const { rule, verdict } of changes) {
      const id = rule && verdict === "bypass" ? bypassOfRule(rule) : undefined;
      if (id === undefined || !known.has(id)) continue;
      this.#hits.set(id, { count: (this.#hits.get(id)?.count ?? 0) + 1, last: now });
      this.changed = true;
    }
  }

  keepOnly(known: ReadonlySet<string>): void {
    for (const id of this.#hits.keys()) if (!known.has(id)) this.#hits.delete(id);
  }
}
