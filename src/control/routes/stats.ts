import type { Stats } from "../api.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { doctorReport, stats } from "../stats-schemas.ts";

export function addStatsRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/stats",
    {
      config: { role: "viewer" },
      schema: { operationId: "showStats", summary: "What the node has done", response: { 200: stats } },
    },
    () => gatherStats(operations),
  );
  /** One examination at a time: each asks every DNS server, and reads the configuration. */
  let running: Promise<readonly Check[]> | undefined;
  app.get(
    "/doctor",
    {
      config: { role: "operator" },
      schema: {
        operationId: "examineNode",
        summary: "Look at everything that the node needs, as `clearline doctor`, and say what to do",
        description: "It takes some seconds when a DNS server does not answer.",
        response: { 200: doctorReport },
      },
    },
    async () => {
      running ??= gatherStats(operations)
        .then((asked) => operations.examine(asked))
        .finally(() => {
          running = undefined;
        });
      const checks = await running;
      const status = SEVERITY.findLast((one) => checks.some((check) => check.status === one)) ?? "ok";
      return { status, checks };
    },
  );
}

type Check = Awaited<ReturnType<Operations["examine"]>>[number];

const SEVERITY = ["ok", "warning", "bad"] as const;

async function gatherStats(operations: Operations): Promise<Stats> {
  const { version, startedAt, sessions, history } = operations;
  return {
    version,
    startedAt,
    health: await operations.health(),
    sessions: { live: sessions.size },
    counters: sessions.counters(),
    history: history.info(),
    ...(await operations.statistics()),
  };
}
