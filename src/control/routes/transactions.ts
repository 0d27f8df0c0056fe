import { pipeline } from "node:stream/promises";
import type { FastifyReply } from "fastify";
import { z } from "zod";
import type { ViewAsk } from "../api.ts";
import { type ControlApp, SECURITY_HEADERS } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure, transactionList, viewPart } from "../schemas.ts";

const params = z.object({ id: z.string().max(128) });
const limit = z.coerce.number().int().min(1).max(5_000).default(100).describe("the most transactions");
const host = z
  .string()
  .min(1)
  .max(255)
  .optional()
  .describe("only for this host of the URL; *.example.com: every subdomain");
const bodies = z
  .enum(["true", "false"])
  .default("false")
  .describe("true: with the bodies, decoded; the feed's own `bodies` always adds them");

const listed = { 200: transactionList, 400: failure, 404: failure };

/** A file of this media type. */
function file(description: string, type: string) {
  const content = { [type]: { schema: z.string().describe(description) } };
  return { 200: { description, content }, 400: failure, 404: failure };
}

const HAR = "HAR 1.2";

/** What sessions carried, read as HTTP by the process of the feed of kind http. All of it is plaintext, so each look is on record. */
export function addTransactionRoutes(app: ControlApp, { view }: Operations): void {
  app.get(
    "/transactions",
    {
      config: { role: "operator", audit: { action: "view transactions" } },
      schema: {
        operationId: "listTransactions",
        summary: "HTTP transactions of all sessions, the newest first",
        querystring: z.strictObject({ host, limit }),
        response: listed,
      },
    },
    async ({ query }, reply) => send(reply, "application/json; charset=utf-8", view, { of: "transactions", ...query }),
  );
  app.get(
    "/sessions/:id/transactions",
    {
      config: { role: "operator", audit: { action: "view transactions" } },
      schema: {
        operationId: "listSessionTransactions",
        summary: "HTTP transactions of one session, the newest first",
        params,
        querystring: z.strictObject({ limit }),
        response: listed,
      },
    },
    async ({ params: { id }, query }, reply) =>
      send(reply, "application/json; charset=utf-8", view, { of: "transactions", session: id, ...query }),
  );
  app.get(
    "/har",
    {
      config: { role: "operator", audit: { action: "view har" } },
      schema: {
        operationId: "downloadHar",
        summary: "HTTP transactions of all sessions that the view holds, as a HAR file",
        querystring: z.strictObject({ host, bodies }),
        response: file(HAR, "application/json"),
      },
    },
    async ({ query }, reply) =>
      send(reply, "application/json; charset=utf-8", view, {
        of: "har",
        host: query.host,
        bodies: query.bodies === "true",
      }),
  );
  app.get(
    "/sessions/:id/har",
    {
      config: { role: "operator", audit: { action: "view har" } },
      schema: {
        operationId: "downloadSessionHar",
        summary: "HTTP transactions of one session, as a HAR file",
        params,
        querystring: z.strictObject({ bodies }),
        response: file(HAR, "application/json"),
      },
    },
    async ({ params: { id }, query }, reply) =>
      send(reply, "application/json; charset=utf-8", view, { of: "har", session: id, bodies: query.bodies === "true" }),
  );
  app.get(
    "/sessions/:id/pcap",
    {
      config: { role: "operator", audit: { action: "view pcap" } },
      schema: {
        operationId: "downloadSessionPackets",
        summary: "The plaintext of one session, as far as the view holds it, as a pcapng file",
        params,
        response: file("pcapng", "application/x-pcapng"),
      },
    },
    async ({ params: { id } }, reply) => send(reply, "application/x-pcapng", view, { of: "pcap", session: id }),
  );
  app.get(
    "/sessions/:id/follow",
    {
      config: { role: "operator", audit: { action: "view follow" } },
      schema: {
        operationId: "followSession",
        summary: "What one session carries, as text: server-sent events until it ends",
        params,
        response: {
          200: { description: "The stream", content: { "text/event-stream": { schema: viewPart } } },
          400: failure,
          404: failure,
        },
      },
    },
    async ({ params: { id } }, reply) => send(reply, "text/event-stream", view, { of: "follow", session: id }, events),
  );
}

type Pieces = AsyncGenerator<string | Uint8Array>;

async function* events(parts: Pieces): Pieces {
  for await (const part of parts) yield `event: part\ndata: ${part}\n\n`;
  yield "event: end\ndata: {}\n\n";
}

/** Sends the pieces as they come. What keeps the first from coming is an answer of its own. */
async function send(
  reply: FastifyReply,
  type: string,
  view: Operations["view"],
  ask: ViewAsk,
  form = (pieces: Pieces): Pieces => pieces,
): Promise<FastifyReply> {
  const leaving = new AbortController();
  reply.raw.once("close", () => leaving.abort());
  const pieces = form(view(ask, leaving.signal));
  const first = await pieces.next();
  reply.hijack();
  reply.raw.writeHead(200, { ...SECURITY_HEADERS, "content-type": type });
  async function* all(): Pieces {
    if (!first.done) yield first.value;
    yield* pieces;
  }
  // A client may leave before the end. Nothing else is left to do then.
  await pipeline(all, reply.raw).catch(() => leaving.abort());
  return reply;
}
