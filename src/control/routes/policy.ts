import { isIP } from "node:net";
import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { explanation, policyOrder, reloaded } from "../schemas.ts";

const facts = z.strictObject({
  host: z.string().min(1).max(253).optional().describe("the SNI or CONNECT host"),
  client: z.string().refine(isIP, "is not an address").optional(),
  server: z
    .string()
    .refine(isEndpoint, "is not an address with a port, like 10.0.0.5:443")
    .optional()
    .describe("10.0.0.5:443"),
  listener: z.string().optional(),
});

function isEndpoint(text: string): boolean {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const known = bracketed === undefined ? isIP(plain ?? "") === 4 : isIP(bracketed) === 6;
  return known && Number(port) >= 1 && Number(port) <= 65535;
}

export function addPolicyRoutes(app: ControlApp, operations: Operations): void {
  app.get("/policy", { schema: { summary: "The order of evaluation", response: { 200: policyOrder } } }, () => ({
    order: operations.policyOrder(),
  }));
  app.get(
    "/explain",
    { schema: { summary: "What would be decided, and why", querystring: facts, response: { 200: explanation } } },
    ({ query }) => operations.explain(query),
  );
  app.post(
    "/explain",
    {
      schema: {
        summary: "The same, with the server's certificate",
        body: facts.extend({
          certificatePem: z
            .string()
            .max(256 * 1024)
            .optional()
            .describe("PEM"),
        }),
        response: { 200: explanation },
      },
    },
    ({ body }) => operations.explain(body),
  );
  app.post("/reload", { schema: { summary: "Read the configuration again", response: { 200: reloaded } } }, () =>
    operations.reload(),
  );
}
