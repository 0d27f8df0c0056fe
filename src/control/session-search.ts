import { setImmediate } from "node:timers/promises";
import type { Session } from "../sessions/record.ts";
import { isFoundByCertificate, type SessionQuery } from "../sessions/search.ts";
import type { LiveTable } from "../sessions/table.ts";
import type { SessionList } from "./api.ts";
import type { History } from "./history.ts";

/** "true": live sessions; "false": closed ones; "all": both. */
export type Liveness = "true" | "false" | "all";

interface Places {
  readonly sessions: LiveTable;
  readonly history: History;
}

/** The bytes of one node's sessions in a search of the fleet. */
const MOST_BYTES = 4 * 2 ** 20;

/**
 * Searches the live table, then the history, for an answer to another node. It asks for one session more than `limit`, to know whether
 * there are more. The answer has a bound in bytes, too.
 */
export function searchSessions(
  { sessions, history }: Places,
  query: SessionQuery,
  live: Liveness,
  limit: number,
): SessionList {
  const found = live === "false" ? [] : [...sessions.search(query, limit + 1)];
  const room = limit + 1 - found.length;
  if (live !== "true" && room > 0) found.push(...history.search(query, room));
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
 * other work between two pieces. What is found is what there is at the call.
 */
export function streamSessions(
  { sessions, history }: Places,
  query: SessionQuery,
  live: Liveness,
  limit: number,
): AsyncGenerator<string> {
  const found = live === "false" ? [] : sessions.search(query, limit + 1);
  const room = limit + 1 - found.length;
  const closed = live === "true" || room <= 0 ? undefined : history.pages(query, room);
  return writeList(found, closed, query, limit);
}

async function* writeList(
  live: readonly Session[],
  closed: AsyncIterable<readonly Session[]> | undefined,
  query: SessionQuery,
  limit: number,
): AsyncGenerator<string> {
  const foundByCertificate: string[] = [];
  let written = 0;
  let more = false;
  const write = (page: readonly Session[]) => {
    const shown = page.slice(0, limit - written);
    more ||= shown.length < page.length;
    foundByCertificate.push(...shown.filter((one) => isFoundByCertificate(query, one)).map(({ id }) => id));
    const text = shown.map((session, index) => `${written + index > 0 ? "," : ""}${JSON.stringify(session)}`).join("");
    written += shown.length;
    return text;
  };
  yield '{"sessions":[';
  for (let at = 0; at < live.length; at += PAGE) {
    yield write(live.slice(at, at + PAGE));
    await setImmediate();
  }
  for await (const page of closed ?? []) yield write(page);
  yield `],"more":${more},"foundByCertificate":${JSON.stringify(foundByCertificate)}}`;
}
