import type { DatabaseSync } from "node:sqlite";
import { bounded } from "../sessions/bounds.ts";
import { LIVE, outcomeOf } from "../sessions/outcome.ts";
import type { Session } from "../sessions/record.ts";
import { hostsOf } from "../sessions/search.ts";
import { openSession } from "../sessions/session.ts";
import type { Migration } from "./database.ts";

/** Each entry takes the database from one `user_version` to the next. An entry is never changed, only added. */
export const MIGRATIONS: readonly Migration[] = [
  `CREATE TABLE sessions (
     number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, start INTEGER NOT NULL, ended INTEGER, listener TEXT NOT NULL,
     client TEXT NOT NULL, state TEXT NOT NULL, verdict TEXT, record TEXT NOT NULL) STRICT;
   CREATE INDEX sessions_start ON sessions (start);
   CREATE INDEX sessions_ended ON sessions (ended);
   CREATE TABLE hosts (number INTEGER PRIMARY KEY, host TEXT NOT NULL UNIQUE) STRICT;
   CREATE TABLE session_hosts (
     host INTEGER NOT NULL, session INTEGER NOT NULL, PRIMARY KEY (host, session)) STRICT, WITHOUT ROWID;
   CREATE INDEX session_hosts_session ON session_hosts (session);`,
  "CREATE INDEX sessions_client ON sessions (client, start)",
  `ALTER TABLE sessions ADD COLUMN subject TEXT;
   UPDATE sessions SET subject = json_extract(record, '$.certificate.subject');
   CREATE INDEX sessions_subject ON sessions (subject);`,
  addOutcomes,
];

/** The order of lists has an index that also answers most filters, so that only the sessions found are read. */
function addOutcomes(database: DatabaseSync): void {
  database.exec(
    ["server", "outcome", "cause", "blame", "rule"]
      .map((column) => `ALTER TABLE sessions ADD COLUMN ${column} TEXT`)
      .join(";"),
  );
  const read = database.prepare("SELECT number, record FROM sessions WHERE number > ? ORDER BY number LIMIT 500");
  const write = database.prepare(
    "UPDATE sessions SET server = ?, outcome = ?, cause = ?, blame = ?, rule = ? WHERE number = ?",
  );
  for (let last = 0; ; ) {
    const rows = read.all(last);
    const end = rows.at(-1);
    if (!end) break;
    for (const row of rows) write.run(...endingColumns(recordOf(row)), row["number"]!);
    last = Number(end["number"]);
  }
  database.exec(
    `DROP INDEX sessions_start;
     CREATE INDEX sessions_list ON sessions (start, id, ended, outcome, cause, blame, rule, verdict, listener);
     CREATE INDEX sessions_outcome ON sessions (outcome, start, id);
     CREATE INDEX sessions_server ON sessions (server, start);`,
  );
}

/** The values of the columns server, outcome, cause, blame and rule. */
function endingColumns({ server, outcome, cause, blame, rule }: Session) {
  return [server?.address.toLowerCase() ?? null, outcome, cause, blame, rule] as const;
}

/** A session as it is written. For its thread it is made of texts: an object of fifty fields costs several times as much to pass on. */
export interface SessionRow {
  readonly id: string;
  /** The columns start, listener and client. */
  readonly birth: readonly [start: number, listener: string, client: string];
  /** The other columns, in their order. */
  readonly rest: readonly (string | number | null)[];
  readonly hosts: readonly string[];
}

export function rowOf(session: Session): SessionRow {
  const { id, start, end, listener, client, state, verdict, certificate } = session;
  const subject = certificate?.subject ?? null;
  return {
    id,
    birth: [start, listener, client.address.toLowerCase()],
    rest: [end, state, verdict, subject, ...endingColumns(session), JSON.stringify(session)],
    hosts: hostsOf(session),
  };
}

export function recordOf(row: Record<string, unknown>): Session {
  // Earlier versions recorded every name of a certificate, and neither an outcome nor the fields that have come since.
  const written: Session = bounded(JSON.parse(String(row["record"])));
  const session: Session = { ...openSession({ ...written, state: "EST:INIT:INIT:INIT" }, written.start), ...written };
  if (written.outcome !== undefined) return session;
  return { ...session, ...(session.end === null ? LIVE : outcomeOf(session, undefined)) };
}
