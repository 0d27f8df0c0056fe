import type { End, Gate } from "../engine/end.ts";

/** Keeps what a server says from its client while something is under way. */
export class HeldReplies {
  readonly #server: End;
  readonly #underWay = new Set<Promise<void>>();
  /** A server that has ended has the last word: its end would overtake what is held. */
  readonly #gate: Gate = (bytes, isLast) => (isLast ? bytes.length : 0);

  constructor(server: End) {
    this.#server = server;
  }

  /** `done` never rejects. */
  until(done: Promise<void>): void {
    this.#underWay.add(done);
    // Before TLS is up the conversation's own gate is there, and nothing is relayed.
    this.#server.gate ??= this.#gate;
    void done.then(() => {
      this.#underWay.delete(done);
      if (this.#underWay.size === 0) this.#letGo();
    });
  }

  /** Resolves once what is under way now is done. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  #letGo(): void {
    const { gate, relay, isOpen, loop } = this.#server;
    if (gate === this.#gate) this.#server.gate = undefined;
    if (isOpen && relay) loop.enqueue(relay);
  }
}
