import { z } from "zod";
import { BLAMES, OUTCOMES } from "../vocabulary.ts";
import { CAUSES } from "./causes.ts";
import { endpoint, type Frozen, type Session, time } from "./record.ts";
import { remedyFor } from "./remedies.ts";
import { hostOf } from "./report.ts";

/** Failures of sessions, put together by host and cause, with what to do about them. Its size has a bound, whatever clients do. */

const number = z.int().nonnegative();

export const trouble = z.object({
  host: z.string().describe("the SNI, the CONNECT host, the certificate's first name or the server's address"),
  outcome: z.enum(OUTCOMES),
  cause: z.enum(CAUSES).nullable(),
  blame: z.enum(BLAMES).nullable(),
  sessions: number.describe("how many sessions failed so"),
  clients: number.describe("how many clients they were of; 1,000 at most are told apart"),
  clientExamples: z.array(z.string()).readonly().describe("addresses of up to five of these clients"),
  server: endpoint.nullable().describe("where the last one led; null: nowhere"),
  first: time.describe("when the first of them ended, in ms since the epoch"),
  last: time.describe("when the last of them ended, in ms since the epoch"),
  example: z.string().describe("the ID of the last one"),
  rule: z.string().nullable().describe("the rule, list or built-in that decided about that one"),
  remedy: z.string().describe("what to do, in a sentence or two"),
});
export type TroubleRow = Frozen<z.output<typeof trouble>>;

export const troubleList = z.object({
  since: time.describe("sessions that began earlier are not looked at, in ms since the epoch"),
  troubles: z.array(trouble).readonly().describe("those that happened last first"),
  more: z.boolean().describe("true: there are more than the limit allows"),
  complete: z.boolean().describe("false: so many sessions failed that only the last ones were looked at"),
});

const CLIENTS_TOLD_APART = 1_000;
const EXAMPLES = 5;
/** A stranger chooses host names. */
const ROWS_MAX = 10_000;

interface Row {
  readonly host: string;
  readonly newest: Session;
  sessions: number;
  first: number;
  readonly last: number;
  readonly clients: Set<string>;
}

/** Takes sessions in the order of lists, the newest first. */
export class Troubles {
  readonly #rows = new Map<string, Row>();

  add(session: Session): void {
    const host = hostOf(session);
    const key = JSON.stringify([host, session.outcome, session.cause]);
    const row = this.#rows.get(key);
    const at = session.end ?? session.lastActivity;
    const { address } = session.client;
    if (row) {
      row.sessions += 1;
      row.first = Math.min(row.first, at);
      if (row.clients.size < CLIENTS_TOLD_APART) row.clients.add(address);
    } else if (this.#rows.size < ROWS_MAX && isTrouble(session)) {
      this.#rows.set(key, { host, newest: session, sessions: 1, first: at, last: at, clients: new Set([address]) });
    }
  }

  /** Those that happened last first. */
  answer(): TroubleRow[] {
    return [...this.#rows.values()].map(shown).sort((a, b) => b.last - a.last);
  }
}

function isTrouble(session: Session): boolean {
  return remedyOf(session, hostOf(session), 1) !== undefined;
}

function remedyOf({ outcome, cause, presented }: Session, host: string, clients: number): string | undefined {
  return remedyFor({ outcome, cause, host, clients, authority: presented?.authority ?? null });
}

function shown({ host, newest, sessions, first, last, clients }: Row): TroubleRow {
  const { id, outcome, cause, blame, rule, server } = newest;
  return {
    ...{ host, outcome, cause, blame, sessions },
    clients: clients.size,
    clientExamples: [...clients].slice(0, EXAMPLES),
    ...{ server, first, last, example: id, rule },
    remedy: remedyOf(newest, host, clients.size) ?? "",
  };
}
