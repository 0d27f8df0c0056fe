import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { explanation, flow, flowWithCertificate, policyOrder, reloaded } from "../schemas.ts";

export function addPolicyRoutes(app: ControlApp, operations: Operations): void {
  app.get("/policy", { schema: { summary: "The order of evaluation", response: { 200: policyOrder } } }, () => ({
    order: operations.policyOrder(),
  }));
  app.get(
    "/explain",
    {
      schema: {
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
      schema: {
        summary: "The same, with the server's certificate",
        body: flowWithCertificate,
        response: { 200: explanation },
      },
    },
    ({ body }) => operations.explain(body),
  );
  app.post("/reload", { schema: { summary: "Read the configuration again", response: { 200: reloaded } } }, () =>
    operations.reload(),
  );
}
