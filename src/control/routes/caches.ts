import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { cache, failure } from "../schemas.ts";

export function addCacheRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/caches",
    { schema: { summary: "What the node remembers", response: { 200: z.array(cache).readonly() } } },
    () => operations.caches(),
  );
  app.delete("/caches", { schema: { summary: "Forget everything", response: { 204: z.null() } } }, async (_, reply) => {
    await operations.flushCaches();
    return reply.code(204).send(null);
  });
  app.delete(
    "/caches/:name",
    {
      schema: {
        summary: "Forget what one cache holds",
        params: z.object({ name: z.string().max(128) }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async ({ params: { name } }, reply) =>
      (await operations.flushCaches(name))
        ? reply.code(204).send(null)
        : reply.code(404).send({ error: `There is no cache "${name}"`, path: "name" }),
  );
}
