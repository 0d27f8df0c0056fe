import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { NewKey } from "../api.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure, generatedKey, key, newKey, newKeyRequest } from "../schemas.ts";

export function addKeyRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/keys",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listKeys",
        summary: "The keys of inbound servers",
        response: { 200: z.array(key).readonly() },
      },
    },
    () => operations.keys(),
  );
  app.post(
    "/keys",
    {
      config: { role: "administrator", audit: { action: "keys add", subject: hostsIn } },
      schema: { operationId: "addKey", summary: "Add an inbound server's key", body: newKey, response: { 201: key } },
    },
    async ({ body }, reply) => reply.code(201).send(await operations.addKey(body)),
  );
  app.post(
    "/keys/generate",
    {
      config: { role: "administrator", audit: { action: "keys generate", subject: hostsIn } },
      schema: {
        operationId: "generateKey",
        summary: "Make a key, and a request for its certificate",
        body: newKeyRequest,
        response: { 201: generatedKey },
      },
    },
    async ({ body }, reply) => reply.code(201).send(await operations.generateKey(body)),
  );
  app.delete(
    "/keys/:id",
    {
      config: { role: "administrator", audit: { action: "keys remove" } },
      schema: {
        operationId: "removeKey",
        summary: "Remove a key that was added",
        params: z.object({ id: z.string().max(128) }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async ({ params: { id } }, reply) =>
      (await operations.removeKey(id))
        ? reply.code(204).send(null)
        : reply.code(404).send({ error: `Cannot remove key ${id}: the node has no key with this id`, path: "id" }),
  );
}

/** The names that the request gives; a key may also be for those in its certificate. */
function hostsIn({ body }: FastifyRequest): string | null {
  const { hosts = [] } = body as NewKey;
  return hosts.join(" ") || null;
}
