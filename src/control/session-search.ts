import { setImmediate } from "node:timers/promises";
import { ConfigError } from "../errors.ts";
import type { Session } from "../sessions/record.ts";
import { compareSessions, isFoundByCertificate, type SessionQuery } from "../sessions/search.ts";
import type { LiveTable } from "../sessions/table.ts";
import type { FleetSessions } from "./api.ts";
import type { History } from "./history.ts";
import { writeCursor } from "./session-filter.ts";

/** "true": live sessions; "false": closed ones; "all": both. */
export type Liveness = "true" | "false" | "all";

interface Places {
  readonly sessions: LiveTable;
  readonly history: History;
}

type FoundSessions = Pick<FleetSessions["nodes"][number], "sessions" | "more" | "foundByCertificate">;

/** The bytes of one node's sessions in a search of the fleet. */
const MOST_BYTES = 4 * 2 ** 20;

/** Throws ConfigError for a search that can find nothing. */
export function checkQuery({ since, until }: SessionQuery): void {
  if (since !== undefined && until !== undefined && since >= until)
    throw new ConfigError("until", "until must be later than since");
}

/**
 * Searches the live table and the history, for an answer to another node. It asks for one session more than `limit`, to know whether
 * there are more. The answer has a bound in bytes, too.
 */
export function searchSessions(
  { sessions, history }: Places,
  query: SessionQuery,
  live: Liveness,
  limit: number,
): FoundSessions {
  const open = live === "false" ? [] : sessions.search(query, limit + 1);
  const over = live === "true" ? [] : history.search(query, limit + 1);
  const found = [...open, ...over].sort(compareSessions).slice(0, limit + 1);
  let bytes = 0;
  const fits = (session: Session) => {
    bytes += Buffer.byteLength(JSON.stringify(session));
    return bytes <= MOST_BYTES;
  };
  const shown = found.slice(0, limit).filter(fits);
  const foundByCertificate = shown.filter((session) => isFoundByCertificate(query, session)).map(({ id }) => id);
  return { sessions: shown, more: found.length > shown.length, foundByCertificate };
}

/** The live sessions that are written at once. */
const PAGE = 100;

/**
 * The same search as the JSON of a SessionList, piece by piece: neither the whole list nor its text is in memory, and the node does its
 * other work between two pieces.
 */
export function streamSessions(
  { sessions, history }: Places,
  query: SessionQuery,
  live: Liveness,
  limit: number,
): AsyncGenerator<string> {
  const open = live === "false" ? [] : sessions.search(query, limit + 1);
  const over = live === "true" ? undefined : history.pages(query, limit + 1);
  return writeList(inOrder(open, over), query, limit);
}

/** Live and closed sessions in one order. One that ends meanwhile is not given twice. */
async function* inOrder(
  live: readonly Session[],
  closed: AsyncIterable<readonly Session[]> | undefined,
): AsyncGenerator<readonly Session[]> {
  const ids = new Set(live.map(({ id }) => id));
  let at = 0;
  for await (const page of closed ?? []) {
    const last = page.at(-1);
    let end = at;
    while (last && end < live.length && compareSessions(live[end]!, last) < 0) end += 1;
    const newer = live.slice(at, end);
    at = end;
    yield [...newer, ...page.filter(({ id }) => !ids.has(id))].sort(compareSessions);
  }
  for (; at < live.length; at += PAGE) {
    yield live.slice(at, at + PAGE);
    await setImmediate();
  }
}

async function* writeList(
  pages: AsyncIterable<readonly Session[]>,
  query: SessionQuery,
  limit: number,
): AsyncGenerator<string> {
  const foundByCertificate: string[] = [];
  let written = 0;
  let last: Session | undefined;
  let more = false;
  yield '{"sessions":[';
  for await (const page of pages) {
    const shown = page.slice(0, limit - written);
    more ||= shown.length < page.length;
    foundByCertificate.push(...shown.filter((one) => isFoundByCertificate(query, one)).map(({ id }) => id));
    const text = shown.map((session, index) => `${written + index > 0 ? "," : ""}${JSON.stringify(session)}`).join("");
    written += shown.length;
    last = shown.at(-1) ?? last;
    yield text;
    if (more) break;
  }
  const next = more && last ? writeCursor(last) : null;
  const rest = { more, next, foundByCertificate };
  yield `],${JSON.stringify(rest).slice(1)}`;
}
