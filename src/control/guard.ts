import type { FastifyReply, FastifyRequest } from "fastify";
import { InvariantError } from "../errors.ts";
import type { CallerRole } from "../vocabulary.ts";
import type { ApiError } from "./api.ts";
import { type ControlApp, SECURITY_HEADERS } from "./app.ts";
import type { Audit } from "./audit.ts";
import { noteRefusal } from "./audit-hooks.ts";
import { bearerOf, isLocalHost } from "./auth.ts";
import { ANYONE, type Caller, hasRole } from "./caller.ts";
import { type Connections, LOOPBACK, peerOf } from "./connections.ts";
import { hasCsrf, type Logins } from "./logins.ts";
import type { OpenAnswers } from "./open-answers.ts";
import type { Tokens } from "./tokens.ts";
import { Tries, type TryLimits } from "./tries.ts";

interface Guard {
  readonly tokens: Tokens;
  readonly logins: Logins;
  readonly answers: OpenAnswers;
  /** The API listens on loopback. */
  readonly loopback: boolean;
  readonly connections: Connections;
  readonly audit: Audit;
  readonly log: { warn(message: string): void };
}

/** The refused requests of one caller that are recorded. */
const REFUSALS: TryLimits = { tries: 30, within: 60_000 };
const TRIES: TryLimits = { tries: 20, within: 60_000 };
/** ms between two looks for tokens and log-ins that have ended, and whose answers are still being sent. */
const EXPIRY_EVERY = 5_000;

/** Every request passes here first, whatever it asks for. */
export function guard(app: ControlApp, { tokens, logins, answers, loopback, connections, audit, log }: Guard): void {
  const tries = new Tries(TRIES);
  const refusals = new Tries(REFUSALS);
  app.decorateRequest("caller");
  app.decorateRequest("login");
  // A route that somebody adds and forgets to protect ends the start.
  app.addHook("onRoute", ({ url, config }) => {
    if (!config?.open && !config?.role && !isDocumentation(url)) throw new InvariantError(`${url} names no role`);
  });
  const expiry = setInterval(() => answers.endOutdated(), EXPIRY_EVERY).unref();
  app.addHook("onClose", async () => clearInterval(expiry));

  /** Who asks, or why nobody is to know. */
  function identify(request: FastifyRequest): Caller | Refusal {
    const token = bearerOf(request.headers.authorization);
    if (token === undefined) return callerOf(request);
    const peer = peerOf(request.socket.remoteAddress ?? "::");
    const now = performance.now();
    // All users of this machine are one peer: a right token among them is good at any time.
    const found = peer !== LOOPBACK && tries.waits(peer, now) > 0 ? undefined : tokens.find(token);
    if (typeof found === "object") return found;
    if (tries.fail(peer, now)) log.warn(`${TRIES.tries} wrong tokens came from ${peer} within a minute`);
    const waits = tries.waits(peer, now);
    if (waits > 0) return { ...TOO_MANY, retryAfter: Math.ceil(waits / 1000) };
    return found === "expired" ? EXPIRED : WRONG_TOKEN;
  }

  /** Of a browser that is logged in. What it changes must come from a page of this node's. */
  function callerOf(request: FastifyRequest): Caller | Refusal {
    const login = logins.find(request.headers.cookie);
    if (!login) return NO_TOKEN;
    if (!READING.includes(request.method) && !hasCsrf(login, request.headers[CSRF_HEADER])) return NO_CSRF;
    request.login = login;
    return login.caller;
  }

  app.addHook("onRequest", async (request, reply) => {
    reply.headers(SECURITY_HEADERS);
    if (loopback && !isLocalHost(request.headers.host)) {
      const error = "The Host header must be an address or localhost, because this node listens on loopback";
      return reply.code(403).send({ error, path: "host" });
    }
    const { config, url } = request.routeOptions;
    const who = identify(request);
    request.caller = "error" in who ? ANYONE : who;
    if (!("error" in who)) {
      connections.prove(request.socket);
      const { login } = request;
      answers.open(reply.raw, () => (login ? logins.isOpen(login) : tokens.isGood(who.name)));
    }
    if (config?.open || isDocumentation(url)) return;
    if ("error" in who) return refuseToken(reply, who);
    if (!config?.role || hasRole(who, config.role)) return;
    // Each entry is written to the disk at once. A program that asks on and on must not fill the log with it.
    if (refusals.waits(who.name, performance.now()) === 0) noteRefusal(request, audit);
    refusals.fail(who.name, performance.now());
    return refuseRole(request, reply, config.role);
  });
}

/** Carries `csrf` of the log-in. */
const CSRF_HEADER = "x-csrf-token";
const READING: readonly string[] = ["GET", "HEAD"];

/** Why no caller is known. */
interface Refusal {
  readonly status: 401 | 403 | 429;
  readonly error: string;
  /** In seconds. */
  readonly retryAfter?: number;
}

const NO_TOKEN: Refusal = {
  status: 401,
  error: "The request needs a token, such as the one in the node's data folder: Authorization: Bearer TOKEN",
};
const NO_CSRF: Refusal = {
  status: 403,
  error: `A browser that is logged in must send the header ${CSRF_HEADER} with what it got from /api/v1/login`,
};
const WRONG_TOKEN: Refusal = { status: 401, error: "The token is not one of this node's, or was removed" };
const EXPIRED: Refusal = { status: 401, error: "The token has expired. Ask an administrator for another one" };
const TOO_MANY: Refusal = { status: 429, error: "Too many wrong tokens came from this address. Try again later" };

function refuseToken(reply: FastifyReply, { status, error, retryAfter }: Refusal): FastifyReply {
  if (status === 401) reply.header("www-authenticate", 'Bearer realm="clearline"');
  if (retryAfter !== undefined) reply.header("retry-after", retryAfter).header("connection", "close");
  return reply.code(status).send({ error, path: "authorization" } satisfies ApiError);
}

function refuseRole({ method, caller, login, routeOptions }: FastifyRequest, reply: FastifyReply, least: CallerRole) {
  const request = `${method} ${routeOptions.url}`;
  const error = `Cannot ${request}: it needs the role ${least}, and ${login ? "" : "the token "}${caller.name} has the role ${caller.role}`;
  return reply.code(403).send({ error, path: "authorization" } satisfies ApiError);
}

/** The API's page and document hold no data of this node, and a browser opens them without a token. */
function isDocumentation(url: string | undefined): boolean {
  return url?.startsWith("/api/v1/docs") ?? false;
}
