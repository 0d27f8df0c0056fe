import { z } from "zod";
import type { ControlApp } from "../app.ts";
import { createMetrics } from "../metrics.ts";
import type { Operations } from "../operations.ts";

/** Needs the token like all other routes: the counters show which listeners are used, and how much. */
export function addMetricsRoute(app: ControlApp, operations: Operations): void {
  const metrics = createMetrics(operations);
  app.get(
    "/metrics",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "showMetrics",
        summary: "Figures for Prometheus",
        response: {
          200: { description: "The text format of Prometheus.", content: { "text/plain": { schema: z.string() } } },
        },
      },
    },
    async (_, reply) => reply.type(metrics.contentType).send(await metrics.scrape()),
  );
}
