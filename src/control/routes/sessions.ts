import { z } from "zod";
import { session } from "../../sessions/record.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure, fleetSessions, sessionList } from "../schemas.ts";
import { sessionFilter } from "../session-filter.ts";
import { searchSessions } from "../session-search.ts";

const query = sessionFilter.extend({
  live: z.enum(["true", "false", "all"]).default("all").describe("true: live sessions only; false: closed ones only"),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
});

export function addSessionRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/sessions",
    { schema: { summary: "Search sessions", querystring: query, response: { 200: sessionList } } },
    ({ query: { live, limit, ...wanted } }) => searchSessions(operations, wanted, live, limit),
  );
  app.get(
    "/fleet/sessions",
    {
      schema: {
        summary: "Search the sessions of every node that shares this one's store",
        querystring: query.extend({ limit: z.coerce.number().int().min(1).max(1_000).default(100) }),
        response: { 200: fleetSessions, 400: failure },
      },
    },
    ({ query: { live, limit, ...wanted } }) => operations.fleetSessions(wanted, live, limit),
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
      const found = operations.sessions.find(id) ?? operations.history.find(id);
      return found
        ? reply.send(found)
        : reply
            .code(404)
            .send({ error: `Cannot show session ${id}: it is neither live nor in the history`, path: "id" });
    },
  );
}
