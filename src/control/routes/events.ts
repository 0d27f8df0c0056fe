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
  const waiting = new Waiting(wanted);
  const last = lastEvent === undefined ? log.last : changeOf(lastEvent, operations.startedAt);
  const since = log.since(last);
  /** Sessions that changed while the client was away, and are not read yet. */
  const missed = since ?? [];
  if (!since) waiting.dropped = 1;
  /** All changes up to this one have been sent. */
  let sent = since ? last : log.last;
  const unsubscribe = operations.subscribe(({ opened, changed, closed }: Applied) => {
    for (const session of [...opened, ...changed, ...closed]) waiting.keep(session);
  });
  let isReading = false;
  const send = () => {
    if (stream.writableNeedDrain || stream.destroyed) return;
    if (missed.length > 0 && !isReading) void readMissed();
    while (!stream.writableNeedDrain && !waiting.isEmpty) {
      const events = waiting.take();
      // While more wait, a client that comes back gets some of them twice.
      if (waiting.isEmpty && missed.length === 0 && !isReading) sent = log.last;
      const id = `${operations.startedAt.toString(36)}-${sent}`;
      stream.write(`id: ${id}\nevent: sessions\ndata: ${JSON.stringify(events)}\n\n`);
    }
  };
  const readMissed = async () => {
    isReading = true;
    for (const id of missed.splice(0, EVENT_MAX)) {
      const session = operations.sessions.find(id) ?? (await operations.history.find(id));
      if (session) waiting.keep(session);
    }
    isReading = false;
    send();
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

/** The sessions that wait for one client, each in its latest form. */
class Waiting {
  readonly #wanted: (session: Session) => boolean;
  readonly #live = new Map<string, Session>();
  readonly #closed = new Map<string, Session>();
  /** Changes for which there was no room, or of which it is not known what they were. */
  dropped = 0;

  constructor(wanted: (session: Session) => boolean) {
    this.#wanted = wanted;
  }

  get isEmpty(): boolean {
    return this.#live.size + this.#closed.size + this.dropped === 0;
  }

  keep(session: Session): void {
    if (session.end !== null) this.#live.delete(session.id);
    if (!this.#wanted(session)) return;
    const sessions = session.end === null ? this.#live : this.#closed;
    if (sessions.size < WAITING_MAX || sessions.has(session.id)) sessions.set(session.id, session);
    else this.dropped += 1;
  }

  /** Those that have waited longest. */
  take(): SessionEvents {
    const { dropped } = this;
    this.dropped = 0;
    return { live: takeFrom(this.#live), closed: takeFrom(this.#closed), dropped };
  }
}

function takeFrom(waiting: Map<string, Session>): Session[] {
  const taken = waiting.values().take(EVENT_MAX).toArray();
  for (const { id } of taken) waiting.delete(id);
  return taken;
}

/** The change that an event's ID stands for. NaN, which no log knows: it is no such ID, or one of an earlier run of the node. */
function changeOf(event: string, startedAt: number): number {
  const [, run, number] = /^([0-9a-z]+)-(\d+)$/.exec(event) ?? [];
  return run === startedAt.toString(36) ? Number(number) : Number.NaN;
}
