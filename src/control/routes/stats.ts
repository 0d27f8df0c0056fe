import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { health, stats } from "../stats-schemas.ts";

export function addStatsRoutes(app: ControlApp, operations: Operations): void {
  const { version, startedAt, sessions, history } = operations;
  app.get(
    "/stats",
    { config: { role: "viewer" }, schema: { summary: "What the node has done", response: { 200: stats } } },
    async () => ({
      version,
      startedAt,
      sessions: { live: sessions.size },
      counters: sessions.counters(),
      history: history.info(),
      ...(await operations.statistics()),
    }),
  );
  app.get(
    "/health",
    {
      config: { open: true },
      schema: {
        summary: "Whether the node runs. Needs no token",
        security: [],
        response: { 200: health },
      },
    },
    () => {
      const store = operations.store()?.state;
      return { status: "ok" as const, version, ...(store !== undefined && { store }) };
    },
  );
}
