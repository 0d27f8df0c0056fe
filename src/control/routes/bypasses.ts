import { z } from "zod";
import type { ControlApp } from "../app.ts";
import { addedBypass, bypass, newBypass } from "../bypass-schemas.ts";
import type { Operations } from "../operations.ts";
import { failure } from "../schemas.ts";

export function addBypassRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/bypasses",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listBypasses",
        summary: "The bypasses with an end that are in force, the newest first",
        response: { 200: z.array(bypass).readonly() },
      },
    },
    () => operations.bypasses(),
  );
  app.post(
    "/bypasses",
    {
      config: {
        role: "operator",
        audit: { action: "bypass add", subject: ({ body }) => String(Object(body).entry) },
      },
      schema: {
        operationId: "addBypass",
        summary: "Bypass a host or an address for a time, at once in all workers and on all nodes of the store",
        body: newBypass,
        response: { 201: addedBypass },
      },
    },
    async (request, reply) => {
      const { entry, comment, for: time } = request.body;
      const added = await operations.addBypass({ entry, comment, time, author: request.caller.name });
      const { id, expires } = added.bypass;
      const until = expires === null ? "ever" : new Date(expires).toISOString();
      request.auditDetail = `${id} until ${until}: ${comment}`;
      return reply.code(201).send(added);
    },
  );
  app.delete(
    "/bypasses/:id",
    {
      config: { role: "operator", audit: { action: "bypass remove" } },
      schema: {
        operationId: "removeBypass",
        summary: "End a bypass at once, also on all nodes of the store",
        params: z.object({ id: z.string().max(300).describe("the bypass's ID, or its entry") }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const removed = await operations.removeBypass(id);
      if (removed) request.auditDetail = `${removed.id} of ${removed.entry}`;
      return removed
        ? reply.code(204).send(null)
        : reply
            .code(404)
            .send({ error: `Cannot remove bypass ${id}: there is none with this ID or entry`, path: "id" });
    },
  );
}
