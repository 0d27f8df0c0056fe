import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { type Session, session } from "../../sessions/record.ts";
import type { ApiError } from "../api.ts";
import { type ControlApp, SECURITY_HEADERS } from "../app.ts";
import { sessionExplanation } from "../explanation-schemas.ts";
import type { Operations } from "../operations.ts";
import { failure, fleetSessions, sessionList } from "../schemas.ts";
import { cursor, sessionFilter } from "../session-filter.ts";
import { checkQuery, streamSessions } from "../session-search.ts";
import { fleetNodes } from "../stats-schemas.ts";

const query = sessionFilter.extend({
  live: z.enum(["true", "false", "all"]).default("all").describe("true: live sessions only; false: closed ones only"),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
});

export function addSessionRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/sessions",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listSessions",
        summary: "Search sessions",
        querystring: query.extend({ cursor }),
        response: { 200: { description: "The list", content: { "application/json": { schema: sessionList } } } },
      },
    },
    async ({ query: { live, limit, cursor: after, ...wanted } }, reply) => {
      checkQuery(wanted);
      const text = streamSessions(operations, { ...wanted, after }, live, limit);
      reply.hijack();
      reply.raw.writeHead(200, { ...SECURITY_HEADERS, "content-type": "application/json; charset=utf-8" });
      // A client may leave before the end. Nothing else is left to do then.
      await pipeline(text, reply.raw).catch(() => text.return(undefined));
    },
  );
  app.get(
    "/fleet",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listFleet",
        summary: "The nodes that share this one's store, and how they are",
        response: { 200: fleetNodes },
      },
    },
    () => operations.fleetNodes(),
  );
  app.get(
    "/fleet/sessions",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listFleetSessions",
        summary: "Search the sessions of every node that shares this one's store",
        querystring: query.extend({ limit: z.coerce.number().int().min(1).max(1_000).default(100) }),
        response: { 200: fleetSessions, 400: failure },
      },
    },
    ({ query: { live, limit, ...wanted } }) => {
      checkQuery(wanted);
      return operations.fleetSessions(wanted, live, limit);
    },
  );
  app.get(
    "/sessions/:id",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "showSession",
        summary: "One session",
        params: z.object({ id: z.string().max(128) }),
        response: { 200: session, 404: failure },
      },
    },
    async ({ params: { id } }, reply) => {
      const found = await find(operations, id);
      return found ? reply.send(found) : reply.code(404).send(unknown("show", id, operations));
    },
  );
  app.get(
    "/sessions/:id/explanation",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "explainSession",
        summary: "What was decided about a session, by what, and what the policy of now would decide",
        params: z.object({ id: z.string().max(128) }),
        response: { 200: sessionExplanation, 404: failure },
      },
    },
    async ({ params: { id } }, reply) => {
      const found = await find(operations, id);
      return found
        ? reply.send(operations.explainSession(found))
        : reply.code(404).send(unknown("explain", id, operations));
    },
  );
  app.delete(
    "/sessions/:id",
    {
      config: { role: "operator", audit: { action: "session end" } },
      schema: {
        operationId: "endSession",
        summary: "End a live session: both of its connections are reset",
        params: z.object({ id: z.string().max(128) }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async ({ params: { id } }, reply) =>
      operations.endSession(id)
        ? reply.code(204).send(null)
        : reply.code(404).send({ error: `Cannot end session ${id}: no live session has this ID`, path: "id" }),
  );
}

async function find({ sessions, history }: Operations, id: string): Promise<Session | undefined> {
  return sessions.find(id) ?? (await history.find(id));
}

function unknown(action: string, id: string, { history }: Operations): ApiError {
  const { state, reason } = history.info();
  const stopped = state === "stopped" ? `, which has stopped: ${reason}` : "";
  return { error: `Cannot ${action} session ${id}: it is neither live nor in the history${stopped}`, path: "id" };
}
