import { z } from "zod";
import { AUDITED_ACTIONS } from "../../vocabulary.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { auditList } from "../schemas.ts";

const query = z.strictObject({
  since: z.coerce.number().int().nonnegative().optional().describe("ms since the epoch; older entries are left out"),
  who: z.string().min(1).max(64).optional().describe("the caller's name"),
  action: z
    .string()
    .refine((text) => AUDITED_ACTIONS.some((action) => `${action} `.startsWith(`${text} `)), "not an audited action")
    .optional()
    .describe("an action, or its first word: `ca` finds every step of a CA"),
  before: z.coerce.number().int().positive().optional().describe("the last entry's number of the page before this one"),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

export function addAuditRoutes(app: ControlApp, { audit }: Operations): void {
  app.get(
    "/audit",
    {
      config: { role: "administrator" },
      schema: { operationId: "listAudit", summary: "Who did what", querystring: query, response: { 200: auditList } },
    },
    async ({ query: { limit, ...wanted } }) => {
      const found = await audit.search(wanted, limit + 1);
      return { entries: found.slice(0, limit), more: found.length > limit };
    },
  );
}
