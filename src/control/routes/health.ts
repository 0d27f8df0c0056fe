import type { FastifyReply, FastifyRequest } from "fastify";
import type { Health, HealthReason } from "../api.ts";
import type { ControlApp } from "../app.ts";
import { ANYONE } from "../caller.ts";
import type { Operations } from "../operations.ts";
import { health, live } from "../stats-schemas.ts";

/** The status code is the answer for probes: 503 while the node should get no traffic. */
const UNAVAILABLE = 503;

/** None of these needs a token, so that any monitor may ask. What the reasons are in detail is for those who have it. */
export function addHealthRoutes(app: ControlApp, operations: Operations): void {
  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<Health> => {
    const { reasons, ...found } = await operations.health();
    const { status } = found;
    reply.code(status === "failing" ? UNAVAILABLE : 200);
    return {
      ...found,
      version: operations.version,
      reasons: request.caller === ANYONE ? reasons.map(withoutText) : reasons,
    };
  };
  const config = { open: true };
  const response = { 200: health, 503: health };
  app.get(
    "/health",
    {
      config,
      schema: {
        operationId: "showHealth",
        summary: "Whether the node is ready, degraded or failing, and why. Needs no token; texts only with it",
        security: [],
        response,
      },
    },
    answer,
  );
  app.get(
    "/health/ready",
    {
      config,
      schema: {
        operationId: "showReadiness",
        summary: "The same, for probes: 503 while the node is failing",
        security: [],
        response,
      },
    },
    answer,
  );
  app.get(
    "/health/live",
    {
      config,
      schema: {
        operationId: "showLiveness",
        summary: "200 while the node answers, whatever its health is",
        security: [],
        response: { 200: live },
      },
    },
    () => ({ status: "live" as const }),
  );
}

function withoutText({ fact, status }: HealthReason): Pick<HealthReason, "fact" | "status"> {
  return { fact, status };
}
