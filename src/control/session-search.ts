import type { SessionQuery } from "../sessions/search.ts";
import type { LiveTable } from "../sessions/table.ts";
import type { SessionList } from "./api.ts";
import type { History } from "./history.ts";

/** Which of the sessions that match: those that live, those that are over, or both. */
export type Liveness = "true" | "false" | "all";

/** One more than `limit` is looked for, to know whether there are more. */
export function searchSessions(
  { sessions, history }: { readonly sessions: LiveTable; readonly history: History },
  query: SessionQuery,
  live: Liveness,
  limit: number,
): SessionList {
  const found = live === "false" ? [] : [...sessions.search(query, limit + 1)];
  const room = limit + 1 - found.length;
  if (live !== "true" && room > 0) found.push(...history.search(query, room));
  return { sessions: found.slice(0, limit), more: found.length > limit };
}
