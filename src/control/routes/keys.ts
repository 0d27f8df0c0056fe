import { z } from "zod";
import type { ControlPlane } from "../plane.ts";
import { failure, key } from "../schemas.ts";
import type { ControlApp } from "../server.ts";

const pem = z
  .string()
  .min(1)
  .max(256 * 1024);
const newKey = z.strictObject({
  hosts: z.array(z.string().min(1).max(253)).min(1).max(1000).describe("names, wildcards, addresses"),
  certificate: pem.describe("PEM, the leaf first"),
  key: pem.describe("PEM, not encrypted"),
});

export function addKeyRoutes(app: ControlApp, plane: ControlPlane): void {
  app.get(
    "/keys",
    { schema: { summary: "The keys of inbound servers", response: { 200: z.array(key).readonly() } } },
    () => plane.keys(),
  );
  app.post(
    "/keys",
    { schema: { summary: "Add an inbound server's key", body: newKey, response: { 201: key } } },
    async ({ body }, reply) => reply.code(201).send(await plane.addKey(body)),
  );
  app.delete(
    "/keys/:id",
    {
      schema: {
        summary: "Remove a key that was added",
        params: z.object({ id: z.string().max(128) }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async ({ params: { id } }, reply) =>
      (await plane.removeKey(id))
        ? reply.code(204).send(null)
        : reply.code(404).send({ error: `There is no key ${id}`, path: "id" }),
  );
}
