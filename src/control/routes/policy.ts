import { z } from "zod";
import { Reporter, report } from "../../sessions/report.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { explanation, flow, flowWithCertificate, listInfos, policyOrder, reloaded } from "../schemas.ts";
import { sessionsSince } from "../session-search.ts";

export function addPolicyRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/policy",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "showPolicy",
        summary: "The order of evaluation, with the sessions that each entry decided",
        response: { 200: policyOrder },
      },
    },
    () => operations.policyOrder(),
  );
  app.get(
    "/lists",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listLists",
        summary: "The policy's lists, and which of their entries match a host or an address",
        querystring: z.strictObject({ find: z.string().min(1).max(300).optional().describe("a host or an address") }),
        response: { 200: listInfos },
      },
    },
    ({ query: { find } }) => operations.lists(find),
  );
  app.get(
    "/explain",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "explainFlow",
        summary: "What would be decided about a flow, and why",
        querystring: flow,
        response: { 200: explanation },
      },
    },
    ({ query }) => operations.explain(query),
  );
  app.post(
    "/explain",
    {
      config: { role: "viewer", audit: null },
      schema: {
        operationId: "explainFlowWithCertificate",
        summary: "The same, with the server's certificate",
        body: flowWithCertificate,
        response: { 200: explanation },
      },
    },
    ({ body }) => operations.explain(body),
  );
  app.get(
    "/report",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "showReport",
        summary: "What the policy decided, or would have decided without monitor mode",
        querystring: z.object({ days: z.coerce.number().positive().max(366).default(7).describe("how far back") }),
        response: { 200: report },
      },
    },
    async ({ query: { days } }) => {
      const since = Math.floor(Date.now() - days * 86_400_000);
      const reporter = new Reporter(since);
      for await (const some of sessionsSince(operations, since)) for (const session of some) reporter.add(session);
      const { kernel } = await operations.statistics();
      const asymmetric = kernel.filter(({ counts, packets }) => counts === "asymmetric" && packets > 0);
      return reporter.answer(asymmetric.map(({ listener, packets }) => ({ listener, packets })));
    },
  );
  app.post(
    "/reload",
    {
      config: { role: "operator", audit: { action: "reload" } },
      schema: { operationId: "reload", summary: "Read the configuration again", response: { 200: reloaded } },
    },
    async (request) => {
      const reloaded = await operations.reload();
      request.auditDetail = reloaded.changes.join("; ");
      return reloaded;
    },
  );
}
