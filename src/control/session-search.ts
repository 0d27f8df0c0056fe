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

/** The live sessions that are looked at, or written, at once. */
const PAGE = 100;

/**
 * Live sessions, and those that are over, that began at `since` (ms since the epoch) or later, some at a time, with time for the node's
 * other work between.
 */
export async function* sessionsSince({ sessions, history }: Places, since: number): AsyncGenerator<readonly Session[]> {
  const live = [...sessions.live()].filter(({ start }) => start >= since);
  const ids = new Set(live.map(({ id }) => id));
  for (let at = 0; at < live.length; at += PAGE) {
    yield live.slice(at, at + PAGE);
    await setImmediate();
  }
  // Some have ended meanwhile.
  for await (const closed of history.since(since)) yield closed.filter(({ id }) => !ids.has(id));
}

/** Searches the live table and the history, for an answer to another node. The answer has a bound in bytes, too. */
export async function searchSessions(
  places: Places,
  query: SessionQuery,
  live: Liveness,
  limit: number,
): Promise<FoundSessions> {
  const shown: Session[] = [];
  let bytes = 0;
  let more = false;
  for await (const page of pagesOf(places, query, live, limit)) {
    for (const session of page) {
      bytes += Buffer.byteLength(JSON.stringify(session));
      more ||= shown.length >= limit || bytes > MOST_BYTES;
      if (!more) shown.push(session);
    }
    if (more) break;
  }
  const foundByCertificate = shown.filter((session) => isFoundByCertificate(query, session)).map(({ id }) => id);
  return { sessions: shown, more, foundByCertificate };
}

/**
 * The same search as the JSON of a SessionList, piece by piece: neither the whole list nor its text is in memory, and the node does its
 * other work between two pieces.
 */
export function streamSessions(
  places: Places,
  query: SessionQuery,
  live: Liveness,
  limit: number,
): AsyncGenerator<string> {
  return writeList(pagesOf(places, query, live, limit), query, limit);
}

/** Asks for one session more than `limit`, to know whether there are more. */
function pagesOf({ sessions, history }: Places, query: SessionQuery, live: Liveness, limit: number) {
  const open = live === "false" ? [] : sessions.search(query, limit + 1);
  const over = live === "true" ? undefined : history.pages(query, limit + 1);
  return inOrder(open, over);
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
