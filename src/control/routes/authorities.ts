import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { authority, failure, keyType, role } from "../schemas.ts";

export function addAuthorityRoutes(app: ControlApp, operations: Operations): void {
  const authorities = z.array(authority).readonly();
  app.get(
    "/ca",
    { config: { role: "viewer" }, schema: { summary: "The signing CAs", response: { 200: authorities } } },
    () => operations.authorities(),
  );
  app.get(
    "/ca/:role/:keyType",
    {
      config: { role: "viewer" },
      schema: {
        summary: "A CA's certificate, in PEM",
        params: z.object({ role, keyType }),
        response: { 200: z.string(), 404: failure },
      },
    },
    async ({ params: { role, keyType } }, reply) => {
      const pem = operations.authorityPem(role, keyType);
      if (pem === undefined)
        return reply.code(404).send({ error: `Cannot export the ${role} CA: it has no ${keyType} certificate` });
      const name = `clearline-${role}-${keyType}.pem`;
      reply.header("content-disposition", `attachment; filename="${name}"`);
      return reply.type("application/x-pem-file").send(pem);
    },
  );
  app.post(
    "/ca/:role/renew",
    {
      config: { role: "administrator", audit: { action: "ca renew" } },
      schema: { summary: "Make new keys for a CA", params: z.object({ role }), response: { 200: authorities } },
    },
    ({ params: { role } }) => operations.renewAuthority(role),
  );
}
