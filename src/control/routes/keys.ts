import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure, generatedKey, key } from "../schemas.ts";

const pem = z
  .string()
  .min(1)
  .max(256 * 1024);
const hosts = z.array(z.string().min(1).max(253)).min(1).max(1000).describe("names, wildcards, addresses");
const newKey = z.strictObject({
  hosts: hosts.optional().describe("names, wildcards, addresses; absent: those that the certificate names"),
  certificate: pem.optional().describe("PEM, the leaf first"),
  key: pem.optional().describe("PEM; absent: the node holds the key already"),
  pkcs12: z
    .base64()
    .min(1)
    .max(512 * 1024)
    .optional()
    .describe("base64; instead of certificate and key"),
  passphrase: z.string().max(1024).optional().describe("under which the key is encrypted"),
});
const newRequest = z.strictObject({
  hosts,
  keyType: z.enum(["ecdsa", "rsa", "ed25519"]).default("ecdsa"),
  selfSignedDays: z.int().min(1).max(3650).optional().describe("sign it with itself; absent: a CA will sign"),
});

export function addKeyRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/keys",
    { schema: { summary: "The keys of inbound servers", response: { 200: z.array(key).readonly() } } },
    () => operations.keys(),
  );
  app.post(
    "/keys",
    { schema: { summary: "Add an inbound server's key", body: newKey, response: { 201: key } } },
    async ({ body }, reply) => reply.code(201).send(await operations.addKey(body)),
  );
  app.post(
    "/keys/generate",
    {
      schema: {
        summary: "Make a key, and a request for its certificate",
        body: newRequest,
        response: { 201: generatedKey },
      },
    },
    async ({ body }, reply) => reply.code(201).send(await operations.generateKey(body)),
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
      (await operations.removeKey(id))
        ? reply.code(204).send(null)
        : reply.code(404).send({ error: `There is no key ${id}`, path: "id" }),
  );
}
