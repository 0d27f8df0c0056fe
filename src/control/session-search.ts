import { isFoundByCertificate, type SessionQuery } from "../sessions/search.ts";
import type { LiveTable } from "../sessions/table.ts";
import type { SessionList } from "./api.ts";
import type { History } from "./history.ts";

/** "true": live sessions; "false": closed ones; "all": both. */
export type Liveness = "true" | "false" | "all";

/** Searches the live table, then the history. It asks for one session more than `limit`, to know whether there are more. */
export function searchSessions(
  { sessions, history }: { readonly sessions: LiveTable; readonly history: History },
  query: SessionQuery,
  live: Liveness,
  limit: number,
): SessionList {
  const found = live === "false" ? [] : [...sessions.search(query, limit + 1)];
  const room = limit + 1 - found.length;
  if (live !== "true" && room > 0) found.push(...history.search(query, room));
  const shown = found.slice(0, limit);
  const foundByCertificate = shown.filter((session) => isFoundByCertificate(query, session)).map(({ id }) => id);
  return { sessions: shown, more: found.length > limit, foundByCertificate };
}
