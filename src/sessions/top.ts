import { z } from "zod";
import { type Frozen, type Session, time } from "./record.ts";
import { TROUBLES } from "./remedies.ts";
import { hostOf } from "./report.ts";

/** What most sessions have in common. Its size has a bound, whatever clients do. */

const number = z.int().nonnegative();

/** By what sessions can be counted; undefined: this session has none. */
const KEYS = {
  host: hostOf,
  client: ({ client }: Session) => client.address,
  rule: ({ rule }: Session) => rule ?? undefined,
  version: ({ clientLeg, serverLeg }: Session) => clientLeg.version ?? serverLeg.version,
  suite: ({ clientLeg, serverLeg }: Session) => clientLeg.suite ?? serverLeg.suite,
  fingerprint: ({ ja4 }: Session) => ja4 ?? undefined,
} satisfies Readonly<Record<string, (session: Session) => string | undefined>>;
export const TOP_KEYS = Object.keys(KEYS) as [TopKey, ...TopKey[]];
export type TopKey = keyof typeof KEYS;

export const topList = z.object({
  by: z.enum(TOP_KEYS),
  since: time.describe("sessions that began earlier are not counted, in ms since the epoch"),
  sessions: number.describe("all sessions of that time"),
  without: number.describe("those among them that have no such value: bypassed ones no suite, for example"),
  rows: z
    .array(
      z.object({
        key: z.string().describe("the host, address, rule, version, suite (of the client's leg) or JA4 fingerprint"),
        sessions: number,
        failed: number.describe("those that somebody failed, or that policy dropped"),
        received: number.describe("bytes from the clients"),
        sent: number.describe("bytes to the clients"),
        last: time.describe("when the last of them began, in ms since the epoch"),
      }),
    )
    .readonly()
    .describe("those with most sessions first"),
  others: number.describe("sessions of all other rows"),
});
type Row = { -readonly [Key in keyof TopRow]: TopRow[Key] };
type TopRow = TopList["rows"][number];
export type TopList = Frozen<z.output<typeof topList>>;

/** A stranger chooses host names. Sessions beyond this many different rows still count in the sums. */
const ROWS_MAX = 20_000;

export class Top {
  readonly #by: TopKey;
  readonly #rows = new Map<string, Row>();
  #sessions = 0;
  #without = 0;

  constructor(by: TopKey) {
    this.#by = by;
  }

  add(session: Session): void {
    this.#sessions += 1;
    const key = KEYS[this.#by](session);
    if (key === undefined) {
      this.#without += 1;
      return;
    }
    const row = this.#rows.get(key) ?? { key, sessions: 0, failed: 0, received: 0, sent: 0, last: 0 };
    if (row.sessions === 0 && this.#rows.size >= ROWS_MAX) return;
    row.sessions += 1;
    if (TROUBLES.includes(session.outcome)) row.failed += 1;
    row.received += session.clientLeg.received;
    row.sent += session.clientLeg.sent;
    row.last = Math.max(row.last, session.start);
    this.#rows.set(key, row);
  }

  answer(since: number, limit: number): TopList {
    const rows = [...this.#rows.values()].sort((a, b) => b.sessions - a.sessions).slice(0, limit);
    const shown = rows.reduce((sum, { sessions }) => sum + sessions, 0);
    const others = this.#sessions - this.#without - shown;
    return { by: this.#by, since, sessions: this.#sessions, without: this.#without, rows, others };
  }
}
