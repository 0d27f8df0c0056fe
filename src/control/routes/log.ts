import type { ServerResponse } from "node:http";
import { z } from "zod";
import { LOG_LEVELS } from "../../vocabulary.ts";
import type { LogEvents, LogLine } from "../api.ts";
import { type ControlApp, SECURITY_HEADERS } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure } from "../schemas.ts";
import { logEvents, logList } from "../stats-schemas.ts";

const BATCH_EVERY = 250;
const HEARTBEAT_EVERY = 15_000;
const CLIENTS_MAX = 8;

const filter = z.strictObject({
  level: z.enum(LOG_LEVELS).default("trace").describe("only lines of this level and of those above it"),
});
type Level = z.output<typeof filter>["level"];

export function addLogRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/log",
    {
      config: { role: "operator" },
      schema: {
        operationId: "showLog",
        summary: "The last lines of the node's log, the oldest first",
        querystring: filter.extend({ lines: z.coerce.number().int().min(1).max(1_000).default(200) }),
        response: { 200: logList },
      },
    },
    ({ query: { level, lines } }) => ({
      lines: operations.log
        .since(0)
        .filter((line) => isShown(line, level))
        .slice(-lines),
    }),
  );
  addLogEvents(app, operations);
}

function addLogEvents(app: ControlApp, operations: Operations): void {
  const streams = new Set<ServerResponse>();
  app.addHook("preClose", async () => {
    for (const stream of streams) stream.end();
  });
  app.get(
    "/log/events",
    {
      config: { role: "operator" },
      schema: {
        operationId: "followLog",
        summary: "New lines of the node's log, as server-sent events",
        description: "A client that comes back with Last-Event-ID gets what it has missed, as far as it is kept.",
        headers: z.object({ "last-event-id": z.string().max(64).optional() }),
        querystring: filter,
        response: {
          200: { description: "The stream", content: { "text/event-stream": { schema: logEvents } } },
          503: failure,
        },
      },
    },
    async ({ query: { level }, headers }, reply) => {
      if (streams.size >= CLIENTS_MAX)
        return reply.code(503).send({ error: `Cannot send the log: ${CLIENTS_MAX} clients already follow it` });
      reply.hijack();
      const stream = reply.raw;
      streams.add(stream);
      stream.writeHead(200, { ...SECURITY_HEADERS, "content-type": "text/event-stream" });
      const stop = sendLines(operations, stream, level, headers["last-event-id"]);
      stream.once("close", () => {
        stop();
        streams.delete(stream);
      });
      return reply;
    },
  );
}

/** Sends new lines, in batches. What a slow client leaves unread is not kept for it beyond the last lines. */
function sendLines({ log, startedAt }: Operations, stream: ServerResponse, level: Level, lastEvent = ""): () => void {
  const run = startedAt.toString(36);
  const [, sameRun, number] = /^([0-9a-z]+)-(\d{1,15})$/.exec(lastEvent) ?? [];
  let sent = sameRun === run ? Math.min(Number(number), log.last) : log.last;
  const send = () => {
    if (stream.writableNeedDrain || sent === log.last) return;
    const found = log.since(sent);
    const dropped = log.last - sent - found.length;
    sent = log.last;
    const events: LogEvents = { lines: found.filter((line) => isShown(line, level)), dropped };
    if (events.lines.length + dropped > 0)
      stream.write(`id: ${run}-${sent}\nevent: lines\ndata: ${JSON.stringify(events)}\n\n`);
  };
  const batch = setInterval(send, BATCH_EVERY);
  const heartbeat = setInterval(() => {
    if (!stream.writableNeedDrain) stream.write(": still here\n\n");
  }, HEARTBEAT_EVERY);
  stream.write("retry: 2000\n\n");
  return () => {
    clearInterval(batch);
    clearInterval(heartbeat);
  };
}

function isShown(line: LogLine, level: Level): boolean {
  return LOG_LEVELS.indexOf(line.level) >= LOG_LEVELS.indexOf(level);
}
