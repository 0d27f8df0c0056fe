import type { FromView } from "./protocol.ts";

type Piece = string | Uint8Array;

interface UnderWay {
  readonly ending: AbortController;
  /** Called once the last piece was used. */
  used: () => void;
}

/** Answers that are under way. Each makes its next piece once the last one was used. */
export class Answers {
  readonly #underWay = new Map<number, UnderWay>();

  /** The last piece of this answer was used. */
  more(number: number): void {
    this.#underWay.get(number)?.used();
  }

  /** Nobody wants the rest of this answer. */
  enough(number: number): void {
    const answer = this.#underWay.get(number);
    answer?.ending.abort();
    answer?.used();
  }

  /** Tells the pieces one by one, then that it is done. Rejects with what `open` throws. */
  async give(
    number: number,
    open: (signal: AbortSignal) => AsyncIterable<Piece>,
    tell: (message: FromView) => void,
  ): Promise<void> {
    const answer: UnderWay = { ending: new AbortController(), used: () => {} };
    const { signal } = answer.ending;
    this.#underWay.set(number, answer);
    try {
      for await (const piece of open(signal)) {
        // Nobody would say that this piece was used.
        if (signal.aborted) break;
        const used = new Promise<void>((resolve) => {
          answer.used = resolve;
        });
        tell({ kind: "piece", number, piece });
        await used;
        if (signal.aborted) break;
      }
      tell({ kind: "done", number });
    } finally {
      this.#underWay.delete(number);
    }
  }
}
