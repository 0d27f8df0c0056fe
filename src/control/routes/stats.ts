import type { ControlApp } from "../app.ts";
import type { ControlPlane } from "../plane.ts";
import { health, stats } from "../schemas.ts";

export function addStatsRoutes(app: ControlApp, plane: ControlPlane): void {
  const { version, startedAt, sessions, history } = plane;
  app.get("/stats", { schema: { summary: "What the node has done", response: { 200: stats } } }, async () => ({
    version,
    startedAt,
    sessions: { live: sessions.size },
    counters: sessions.counters(),
    history: history.info(),
    ...(await plane.statistics()),
  }));
  app.get(
    "/health",
    {
      config: { open: true },
      schema: {
        summary: "Is the node there? Needs no token",
        security: [],
        response: { 200: health },
      },
    },
    () => {
      const store = plane.store()?.state;
      return { status: "ok" as const, version, ...(store !== undefined && { store }) };
    },
  );
}
