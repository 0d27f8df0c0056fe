import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { cache, failure } from "../schemas.ts";

export function addCacheRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/caches",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listCaches",
        summary: "The caches of the node",
        response: { 200: z.array(cache).readonly() },
      },
    },
    () => operations.caches(),
  );
  app.delete(
    "/caches",
    {
      config: { role: "operator", audit: { action: "cache flush" } },
      schema: { operationId: "flushCaches", summary: "Empty all caches", response: { 204: z.null() } },
    },
    async (_, reply) => {
      await operations.flushCaches();
      return reply.code(204).send(null);
    },
  );
  app.delete(
    "/caches/:name",
    {
      config: { role: "operator", audit: { action: "cache flush" } },
      schema: {
        operationId: "flushCache",
        summary: "Empty one cache",
        params: z.object({ name: z.string().max(128) }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async ({ params: { name } }, reply) =>
      (await operations.flushCaches(name))
        ? reply.code(204).send(null)
        : reply
            .code(404)
            .send({ error: `Cannot flush cache ${name}: the node has no cache of this name`, path: "name" }),
  );
}
