import type { ServerResponse } from "node:http";

/** The answers that are being sent, by caller. A stream of events goes on for as long as its client likes. */
export class OpenAnswers {
  readonly #answers = new Map<string, Set<ServerResponse>>();

  open(name: string, answer: ServerResponse): void {
    const answers = this.#answers.get(name) ?? new Set();
    this.#answers.set(name, answers.add(answer));
    answer.once("close", () => {
      answers.delete(answer);
      if (answers.size === 0) this.#answers.delete(name);
    });
  }

  names(): Iterable<string> {
    return this.#answers.keys();
  }

  /** Ends this caller's answers, except for one: the caller may no longer have them. */
  end(name: string, except?: ServerResponse): void {
    for (const answer of this.#answers.get(name) ?? []) if (answer !== except) answer.destroy();
  }
}
