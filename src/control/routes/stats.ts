import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { stats } from "../stats-schemas.ts";

export function addStatsRoutes(app: ControlApp, operations: Operations): void {
  const { version, startedAt, sessions, history } = operations;
  app.get(
    "/stats",
    {
      config: { role: "viewer" },
      schema: { operationId: "showStats", summary: "What the node has done", response: { 200: stats } },
    },
    async () => ({
      version,
      startedAt,
      health: await operations.health(),
      sessions: { live: sessions.size },
      counters: sessions.counters(),
      history: history.info(),
      ...(await operations.statistics()),
    }),
  );
}
