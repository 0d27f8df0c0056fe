import type { ServerResponse } from "node:http";

/** The answers that are being sent. A stream of events goes on for as long as its client likes. */
export class OpenAnswers {
  readonly #answers = new Map<ServerResponse, () => boolean>();

  /** `isGood`: whether the token or the log-in that was shown for this answer has not ended. */
  open(answer: ServerResponse, isGood: () => boolean): void {
    this.#answers.set(answer, isGood);
    answer.once("close", () => this.#answers.delete(answer));
  }

  /** Ends those whose callers may no longer have them, except for one. */
  endOutdated(except?: ServerResponse): void {
    for (const [answer, isGood] of this.#answers) if (answer !== except && !isGood()) answer.destroy();
  }
}
