import { z } from "zod";
import type { ControlApp } from "../app.ts";
import type { Metrics } from "../metrics.ts";
import type { Operations } from "../operations.ts";

/** Needs the token like all other routes: the counters show which listeners are used, and how much. */
export function addMetricsRoute(app: ControlApp, operations: Operations): void {
  let metrics: Promise<Metrics> | undefined;
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
    async (_, reply) => {
      metrics ??= openMetrics(operations);
      const { contentType, scrape } = await metrics;
      return reply.type(contentType).send(await scrape());
    },
  );
}

/** A node that nobody asks for metrics starts without the library that writes them. */
async function openMetrics(operations: Operations): Promise<Metrics> {
  const { createMetrics } = await import("../metrics.ts");
  return createMetrics(operations);
}
