import type { FastifyReply, FastifyRequest } from "fastify";
import { answerCa } from "../../page/ca-page.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";

/** A Host field may hold almost anything. */
const HOST = /^[\w.:[\]-]{1,255}$/;

/** The page with the CA's certificates, and its files. Nobody needs a token for what every client is to have. */
export function addCaPage(app: ControlApp, operations: Pick<Operations, "offeredCertificates">): void {
  const open = { config: { open: true }, schema: { hide: true } } as const;
  const answer = (request: FastifyRequest, reply: FastifyReply) => {
    const { protocol, host, url } = request;
    const named = HOST.test(host) ? host : "localhost";
    const site = { certificates: operations.offeredCertificates(), address: `${protocol}://${named}/ca` };
    const { status, type, body, fields } = answerCa(url, site);
    const lower = Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]);
    return reply.code(status).type(type).headers(Object.fromEntries(lower)).send(body);
  };
  app.get("/ca", open, answer);
  app.get("/ca/", open, answer);
  app.get("/ca/:file", open, answer);
}
