import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { LoginWays } from "../api.ts";
import type { ControlApp } from "../app.ts";
import type { Audit } from "../audit.ts";
import { addressOf } from "../audit-hooks.ts";
import { ANYONE, type Caller } from "../caller.ts";
import { cookieFor, type Logins } from "../logins.ts";
import { CALLBACK, LoginFailure, type OpenIdConnect } from "../oidc.ts";
import { placeIn } from "../oidc-pending.ts";
import { loginWays } from "../schemas.ts";

interface Oidc {
  /** Undefined: console.oidc is not set. */
  readonly provider: OpenIdConnect | undefined;
  readonly logins: Logins;
  readonly audit: Audit;
  readonly log: { warn(message: string): void };
}

const BEGIN = "/api/v1/login/oidc";
const COOKIE = "clearline-oidc";
/** ms. */
const BETWEEN_WARNINGS = 10_000;

/** Pages for browsers: the provider sends them back here. */
export function addOidcRoutes(app: ControlApp, oidc: Oidc): void {
  const { provider, log } = oidc;
  const warn = sparing(log.warn.bind(log));
  app.get(
    "/login/ways",
    {
      config: { open: true },
      schema: {
        operationId: "listLoginWays",
        summary: "How browsers may log in. Needs no token",
        security: [],
        response: { 200: loginWays },
      },
    },
    (): LoginWays => ({ token: true, oidc: provider ? { path: BEGIN, issuer: provider.options.issuer } : null }),
  );
  if (!provider) return;
  app.get(
    "/login/oidc",
    {
      config: { open: true },
      schema: { hide: true, querystring: z.strictObject({ to: z.string().max(1024).optional() }) },
    },
    async (request, reply) => {
      const { protocol, host, query } = request;
      const found = await provider.begin(`${protocol}://${host}`, placeIn(query.to)).catch((error) => error);
      if (found instanceof Error) return refuse(reply, found, warn);
      // Lax: the provider's page leads back here, which Strict would take for another site's request.
      return reply.header("set-cookie", pendingCookie(found.cookie, protocol)).redirect(found.url.href, 302);
    },
  );
  addCallback(app, provider, oidc, warn);
}

function addCallback(app: ControlApp, provider: OpenIdConnect, { logins, audit }: Oidc, warn: Warn): void {
  const stepOf = (request: FastifyRequest, caller: Caller) =>
    ({ caller, action: "log in", subject: null, address: addressOf(request) }) as const;
  app.get("/login/oidc/callback", { config: { open: true }, schema: { hide: true } }, async (request, reply) => {
    const query = new URL(request.url, "http://node.invalid").search;
    const cookie = new RegExp(`(?:^|;) *${COOKIE}=([\\w-]+)`).exec(request.headers.cookie ?? "")?.[1];
    const found = await provider.finish(query, cookie).catch((error) => error);
    reply.header("set-cookie", pendingCookie(undefined, request.protocol));
    if (found instanceof Error) {
      if (found instanceof LoginFailure && found.who !== undefined)
        audit.note(stepOf(request, { ...ANYONE, name: found.who }), "refused", found.message);
      return refuse(reply, found, warn);
    }
    const { caller, to } = found;
    // Nobody is logged in whom the audit log does not have.
    const number = await audit.begin(stepOf(request, caller));
    const { value } = logins.open(caller, () => true, provider.options.longest);
    audit.end(number, "done", "by OpenID Connect");
    return reply.header("set-cookie", cookieFor(value, request.protocol === "https")).redirect(to, 302);
  });
}

type Warn = (message: string) => void;

/** Strangers can make log-ins fail: that does not fill the log. */
function sparing(warn: Warn): Warn {
  let last = Number.NEGATIVE_INFINITY;
  return (message) => {
    const now = performance.now();
    if (now - last < BETWEEN_WARNINGS) return;
    last = now;
    warn(message);
  };
}

function pendingCookie(value: string | undefined, protocol: string): string {
  const secure = protocol === "https" ? "; Secure" : "";
  const life = value === undefined ? 0 : 600;
  return `${COOKIE}=${value ?? ""}; Path=${CALLBACK}; HttpOnly; SameSite=Lax; Max-Age=${life}${secure}`;
}

/** A person reads it. */
function refuse(reply: FastifyReply, error: Error, warn: Warn): FastifyReply {
  if (!(error instanceof LoginFailure)) throw error;
  if (error.status >= 502) warn(`A log-in by OpenID Connect failed. ${error.message}`);
  const text = `Cannot log in: ${error.message}.\n\nThe log-in page of this node is at /\n`;
  return reply.code(error.status).type("text/plain; charset=utf-8").send(text);
}
