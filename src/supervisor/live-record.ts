import type { Session } from "../sessions/record.ts";
import type { Applied } from "../sessions/table.ts";

/** ms after which a live session is recorded again: its counters have grown. */
const AGAIN = 60_000;
/** The most records of one call, but for those with a new verdict: thousands of sessions may be live. */
const MOST = 250;

/** What was recorded of a live session last. */
interface Recorded {
  readonly decided: string;
  /** ms on a clock that nobody sets. */
  readonly at: number;
}

/**
 * Chooses the live sessions that go on record, so that the death of the node or its machine leaves them there: soon after their verdict,
 * or after they turned out to need none, and again from time to time. A session that is over by then is recorded once, at its end.
 */
export class LiveRecord {
  /** In the order in which they were recorded. */
  readonly #recorded = new Map<string, Recorded>();
  /** With a decision that is not on record. */
  readonly #due = new Set<string>();

  /** `now` in ms, on a clock that nobody sets. */
  note({ opened, changed, closed }: Applied, now: number): void {
    for (const session of [...opened, ...changed]) {
      const { id } = session;
      const last = this.#recorded.get(id);
      if (!last) this.#recorded.set(id, { decided: UNDECIDED, at: now });
      if (decisionOf(session) !== (last?.decided ?? UNDECIDED)) this.#due.add(id);
    }
    for (const { id } of closed) {
      this.#recorded.delete(id);
      this.#due.delete(id);
    }
  }

  /** The sessions to be recorded now. */
  take(find: (id: string) => Session | undefined, now: number): Session[] {
    const ids = new Set(this.#due);
    this.#due.clear();
    for (const [id, { at }] of this.#recorded) {
      if (now - at < AGAIN || ids.size >= MOST) break;
      ids.add(id);
    }
    return [...ids].flatMap((id) => {
      const session = find(id);
      this.#recorded.delete(id);
      if (!session || session.end !== null) return [];
      this.#recorded.set(id, { decided: decisionOf(session), at: now });
      return [session];
    });
  }
}

const UNDECIDED = "null null";

/** Where the protocol is not TLS, the verdict stays null. */
function decisionOf({ verdict, protocol }: Pick<Session, "verdict" | "protocol">): string {
  return `${verdict} ${protocol}`;
}
