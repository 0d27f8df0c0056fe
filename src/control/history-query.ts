import type { DatabaseSync } from "node:sqlite";
import { compileClient } from "../sessions/client-pattern.ts";
import { compileHost, compileText, namedHostsOf, type SessionQuery } from "../sessions/search.ts";

/** A search of the history as a condition of SQL. */

interface Conditions {
  readonly where: string;
  readonly values: readonly (string | number)[];
}

/** Each value of this column once. It jumps through the index from one value to the next instead of reading all sessions. */
const distinct = (column: "client" | "server" | "subject") => `
  WITH RECURSIVE found (value) AS (
    SELECT min(${column}) FROM sessions
    UNION ALL
    SELECT (SELECT min(${column}) FROM sessions WHERE ${column} > found.value) FROM found WHERE value IS NOT NULL)
  SELECT value FROM found WHERE value IS NOT NULL`;

/** Adds the live table's own comparisons as functions of SQL: a search means the same for live and for closed sessions. */
export function addMatchers(database: DatabaseSync): void {
  addMatcher(database, "host_matches", (query) => compileHost(query).matches);
  addMatcher(database, "sni_matches", (query) => {
    const { matches } = compileHost(query);
    return (sni) => namedHostsOf({ sni, connectHost: null }).some(matches);
  });
  addMatcher(database, "text_matches", compileText);
  addMatcher(database, "address_matches", (query) => compileClient(query)?.matches ?? (() => false));
}

function addMatcher(database: DatabaseSync, name: string, compile: (query: string) => (text: string) => boolean): void {
  let last: { readonly query: string; readonly matches: (text: string) => boolean } | undefined;
  database.function(name, { deterministic: true }, (query, text) => {
    if (last?.query !== query) last = { query: String(query), matches: compile(String(query)) };
    return text !== null && last.matches(String(text)) ? 1 : 0;
  });
}

/** Whether the records themselves must be read to know which match. */
export function readsRecords({ reason, fault, version, communityId, ja4 }: SessionQuery): boolean {
  return (
    communityId !== undefined ||
    ja4 !== undefined ||
    reason !== undefined ||
    fault !== undefined ||
    version !== undefined
  );
}

export function conditionsOf(query: SessionQuery): Conditions {
  const where = ["ended IS NOT NULL"];
  const values: (string | number)[] = [];
  const add = (condition: string, ...given: (string | number)[]) => {
    where.push(condition);
    values.push(...given);
  };
  const { verdict, listener, blame, rule, since, until, after } = query;
  if (verdict === "none") add("verdict IS NULL");
  else if (verdict !== undefined) add("verdict = ?", verdict);
  if (listener !== undefined) add("listener = ?", listener);
  if (blame !== undefined) add("blame = ?", blame);
  if (rule !== undefined) add("rule = ?", rule);
  if (since !== undefined) add("start >= ?", since);
  if (until !== undefined) add("start < ?", until);
  if (after !== undefined) add("(start, id) < (?, ?)", after.start, after.id);
  for (const column of ["outcome", "cause"] as const) {
    const wanted = query[column];
    if (wanted !== undefined) add(`${column} IN (${marks(wanted)})`, ...wanted);
  }
  if (query.state !== undefined) {
    const state = query.state.toUpperCase();
    add("(state = ? OR substr(state, 1, ?) = ?)", state, state.length + 1, `${state}:`);
  }
  addPeers(query, add);
  addHosts(query, add);
  addRecords(query, add);
  return { where: where.join(" AND "), values };
}

type Add = (condition: string, ...given: (string | number)[]) => void;

function addPeers(query: SessionQuery, add: Add): void {
  for (const column of ["client", "server"] as const) {
    const wanted = query[column];
    if (wanted === undefined) continue;
    const addresses = compileClient(wanted)?.addresses;
    if (addresses) add(`${column} IN (${marks(addresses)})`, ...addresses);
    else add(`${column} IN (${distinct(column)} AND address_matches(?, value))`, wanted);
  }
}

function addHosts({ host, sni, subject }: SessionQuery, add: Add): void {
  if (subject !== undefined) add(`subject IN (${distinct("subject")} AND text_matches(?, value))`, subject);
  for (const wanted of [host, sni].filter((one) => one !== undefined)) {
    const { names } = compileHost(wanted);
    const match = names ? `host IN (${marks(names)})` : "host_matches(?, host)";
    const linked = `SELECT session FROM session_hosts WHERE host IN (SELECT number FROM hosts WHERE ${match})`;
    add(`number IN (${linked})`, ...(names ?? [wanted]));
  }
  if (sni !== undefined) {
    const named = "sni_matches(?, record ->> ?)";
    add(`(${named} OR ${named})`, sni, "$.sni", sni, "$.connectHost");
  }
}

/** Conditions on what is in the records alone. */
function addRecords({ reason, fault, version, communityId, ja4 }: SessionQuery, add: Add): void {
  if (communityId !== undefined) add("record ->> ? = ?", "$.communityId", communityId);
  if (ja4 !== undefined) add("record ->> ? = ?", "$.ja4", ja4);
  if (version !== undefined) {
    add("(record ->> ? = ? OR record ->> ? = ?)", "$.clientLeg.version", version, "$.serverLeg.version", version);
  }
  if (fault !== undefined) {
    add("EXISTS (SELECT 1 FROM json_each(record, ?) WHERE value ->> ? = ?)", "$.certificate.faults", "$.fault", fault);
  }
  if (reason !== undefined) {
    const says = "text_matches(?, record ->> ?)";
    add(`(${says} OR ${says})`, reason, "$.reason", reason, "$.closeReason");
  }
}

function marks(values: readonly unknown[]): string {
  return values.map(() => "?").join(", ");
}
