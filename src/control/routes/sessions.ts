import { z } from "zod";
import type { SessionQuery } from "../../sessions/search.ts";
import type { SessionList } from "../api.ts";
import type { ControlPlane } from "../plane.ts";
import { failure, session, sessionList } from "../schemas.ts";
import type { ControlApp } from "../server.ts";
import { sessionFilter } from "../session-filter.ts";

const query = sessionFilter.extend({
  live: z.enum(["true", "false", "all"]).default("all").describe("true: live sessions only; false: closed ones only"),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
});

export function addSessionRoutes(app: ControlApp, plane: ControlPlane): void {
  app.get(
    "/sessions",
    { schema: { summary: "Search sessions", querystring: query, response: { 200: sessionList } } },
    ({ query: { live, limit, ...wanted } }) => search(plane, wanted, live, limit),
  );
  app.get(
    "/sessions/:id",
    {
      schema: {
        summary: "One session",
        params: z.object({ id: z.string().max(128) }),
        response: { 200: session, 404: failure },
      },
    },
    async ({ params: { id } }, reply) => {
      const found = plane.sessions.find(id) ?? plane.history.find(id);
      return found ? reply.send(found) : reply.code(404).send({ error: `There is no session ${id}`, path: "id" });
    },
  );
}

/** One more than `limit` is looked for, to know whether there are more. */
function search(plane: ControlPlane, query: SessionQuery, live: "true" | "false" | "all", limit: number): SessionList {
  const { sessions, history } = plane;
  const found = live === "false" ? [] : [...sessions.search(query, limit + 1)];
  const room = limit + 1 - found.length;
  if (live !== "true" && room > 0) found.push(...history.search(query, room));
  return { sessions: found.slice(0, limit), more: found.length > limit };
}
