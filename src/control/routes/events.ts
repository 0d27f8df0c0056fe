import type { ServerResponse } from "node:http";
import { z } from "zod";
import type { Session } from "../../sessions/record.ts";
import { compileQuery } from "../../sessions/search.ts";
import type { Applied } from "../../sessions/table.ts";
import type { SessionEvents } from "../api.ts";
import { type ControlApp, SECURITY_HEADERS } from "../app.ts";
import { ChangeLog } from "../change-log.ts";
import type { Operations } from "../operations.ts";
import { failure, sessionEvents } from "../schemas.ts";
import { sessionFilter } from "../session-filter.ts";

const BATCH_EVERY = 250;
const HEARTBEAT_EVERY = 15_000;
/** The most sessions that wait for one slow client, and the most clients. */
const WAITING_MAX = 5000;
const CLIENTS_MAX = 32;
/** The most sessions of either kind in one event, so that its text is short. */
const EVENT_MAX = 100;

export function addEventRoutes(app: ControlApp, operations: Operations): void {
  const streams = new Set<ServerResponse>();
  const log = new ChangeLog();
  const forget = operations.subscribe((applied) => log.note(applied));
  app.addHook("preClose", async () => {
    for (const stream of streams) stream.end();
    forget();
  });
  app.get(
    "/events",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "followSessions",
        summary: "Session changes, as server-sent events",
        description:
          "Each event has an ID. A client that comes back with it in Last-Event-ID gets what it has missed; when that is no longer known, `dropped` is not 0.",
        headers: z.object({ "last-event-id": z.string().max(64).optional() }),
        querystring: sessionFilter,
        response: {
          200: { description: "The stream", content: { "text/event-stream": { schema: sessionEvents } } },
          503: failure,
        },
      },
    },
    async (request, reply) => {
      if (streams.size >= CLIENTS_MAX)
        return reply.code(503).send({ error: `Cannot send events: ${CLIENTS_MAX} clients already receive them` });
      reply.hijack();
      const stream = reply.raw;
      streams.add(stream);
      stream.writeHead(200, { ...SECURITY_HEADERS, "content-type": "text/event-stream" });
      const stop = sendChanges(operations, log, stream, compileQuery(request.query), request.headers["last-event-id"]);
      stream.once("close", () => {
        stop();
        streams.delete(stream);
      });
      return reply;
    },
  );
}

/** Sends what changed, in batches; of a session that changed twice, only the latest form. Returns how to stop. */
function sendChanges(
  operations: Operations,
  log: ChangeLog,
  stream: ServerResponse,
  wanted: (session: Session) => boolean,
  lastEvent: string | undefined,
): () => void {
  const live = new Map<string, Session>();
  const closed = new Map<string, Session>();
  let dropped = 0;
  /** All changes up to this one have been sent. */
  let sent = log.last;
  const keep = (waiting: Map<string, Session>, session: Session) => {
    if (!wanted(session)) return;
    if (waiting.size < WAITING_MAX || waiting.has(session.id)) waiting.set(session.id, session);
    else dropped += 1;
  };
  const missed = lastEvent === undefined ? [] : log.since(changeOf(lastEvent, operations.startedAt));
  if (!missed) dropped = 1;
  for (const id of missed ?? []) {
    const session = operations.sessions.find(id) ?? operations.history.find(id);
    if (session) keep(session.end === null ? live : closed, session);
  }
  const unsubscribe = operations.subscribe((applied: Applied) => {
    for (const session of [...applied.opened, ...applied.changed]) keep(live, session);
    for (const session of applied.closed) {
      live.delete(session.id);
      keep(closed, session);
    }
  });
  const send = () => {
    while (!stream.writableNeedDrain && live.size + closed.size + dropped > 0) {
      const events: SessionEvents = { live: take(live), closed: take(closed), dropped };
      dropped = 0;
      // While more wait, a client that comes back gets some of them twice.
      if (live.size + closed.size === 0) sent = log.last;
      const id = `${operations.startedAt.toString(36)}-${sent}`;
      stream.write(`id: ${id}\nevent: sessions\ndata: ${JSON.stringify(events)}\n\n`);
    }
  };
  const batch = setInterval(send, BATCH_EVERY);
  stream.on("drain", send);
  // Keeps the connection open in both ends and in proxies between them.
  const heartbeat = setInterval(() => {
    if (!stream.writableNeedDrain) stream.write(": still here\n\n");
  }, HEARTBEAT_EVERY);
  stream.write("retry: 2000\n\n");
  return () => {
    unsubscribe();
    clearInterval(batch);
    clearInterval(heartbeat);
  };
}

/** The sessions that have waited longest. */
function take(waiting: Map<string, Session>): Session[] {
  const taken = waiting.values().take(EVENT_MAX).toArray();
  for (const { id } of taken) waiting.delete(id);
  return taken;
}

/** The change that an event's ID stands for. NaN, which no log knows: it is no such ID, or one of an earlier run of the node. */
function changeOf(event: string, startedAt: number): number {
  const [, run, number] = /^([0-9a-z]+)-(\d+)$/.exec(event) ?? [];
  return run === startedAt.toString(36) ? Number(number) : Number.NaN;
}
