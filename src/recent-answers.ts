/** Answers that are remembered at most. */
const MOST = 500;

/**
 * The recent answers of a function, by all that they depend on. For what a search in `Cache` would cost as much as making it again: when
 * there are too many, all are forgotten. Keys and answers must be short.
 */
export class RecentAnswers<Answer> {
  readonly #known = new Map<string, { readonly answer: Answer }>();

  /** The answer for this key; what `make` throws is not remembered. */
  take(key: string, make: () => Answer): Answer {
    const known = this.#known.get(key);
    if (known) return known.answer;
    const answer = make();
    if (this.#known.size === MOST) this.#known.clear();
    this.#known.set(key, { answer });
    return answer;
  }
}
