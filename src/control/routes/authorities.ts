import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { authority, destroyed, failure, keyType, role } from "../schemas.ts";

export function addAuthorityRoutes(app: ControlApp, operations: Operations): void {
  const authorities = z.array(authority).readonly();
  app.get(
    "/ca",
    {
      config: { role: "viewer" },
      schema: { operationId: "listAuthorities", summary: "The signing CAs", response: { 200: authorities } },
    },
    () => operations.authorities(),
  );
  app.get(
    "/ca/:role/:which",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "exportAuthority",
        summary: "A CA's certificate, in PEM",
        params: z.object({ role, which: keyType }),
        querystring: z.strictObject({ stage: authority.shape.stage.default("present") }),
        response: {
          200: { description: "The file.", content: { "application/x-pem-file": { schema: z.string() } } },
          404: failure,
        },
      },
    },
    async ({ params: { role, which: keyType }, query: { stage } }, reply) => {
      const pem = operations.authorityPem(role, keyType, stage);
      const next = stage === "next" ? "next " : "";
      if (pem === undefined)
        return reply.code(404).send({ error: `Cannot export the ${next}${role} CA: it has no ${keyType} certificate` });
      const name = `clearline-${next.trim() && "next-"}${role}-${keyType}.pem`;
      reply.header("content-disposition", `attachment; filename="${name}"`);
      return reply.type("application/x-pem-file").send(pem);
    },
  );
  app.post(
    "/ca/:role/renew",
    {
      config: { role: "administrator", audit: { action: "ca renew" } },
      schema: {
        operationId: "renewAuthority",
        summary: "Make new keys for a CA",
        params: z.object({ role }),
        response: { 200: authorities },
      },
    },
    ({ params: { role } }) => operations.renewAuthority(role),
  );
  app.post(
    "/ca/:role/next",
    {
      config: { role: "administrator", audit: { action: "ca next" } },
      schema: {
        operationId: "makeNextAuthority",
        summary: "Make the CA that is to follow; the present one signs until it is activated",
        params: z.object({ role }),
        response: { 200: authorities },
      },
    },
    ({ params: { role } }) => operations.makeNextAuthority(role),
  );
  app.post(
    "/ca/:role/activate",
    {
      config: { role: "administrator", audit: { action: "ca activate" } },
      schema: {
        operationId: "activateNextAuthority",
        summary: "Have the next CA sign from now on",
        params: z.object({ role }),
        response: { 200: authorities },
      },
    },
    ({ params: { role } }) => operations.activateAuthority(role),
  );
  app.delete(
    "/ca/:role/:which",
    {
      config: { role: "administrator", audit: { action: "ca destroy" } },
      schema: {
        operationId: "removeAuthority",
        summary: "Destroy the private keys of former CAs, or the next CA",
        params: z.object({ role, which: z.enum(["former", "next"]) }),
        response: { 200: destroyed },
      },
    },
    async ({ params: { role, which } }) => ({ keys: await operations.destroyAuthority(role, which) }),
  );
}
