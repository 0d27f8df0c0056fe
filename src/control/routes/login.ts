import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { ControlApp } from "../app.ts";
import { ANYONE } from "../caller.ts";
import { cookieFor, type Logins } from "../logins.ts";
import type { OpenAnswers } from "../open-answers.ts";
import { loginState } from "../schemas.ts";
import type { Tokens } from "../tokens.ts";

export function addLoginRoutes(app: ControlApp, logins: Logins, tokens: Tokens, answers: OpenAnswers): void {
  app.post(
    "/login",
    {
      config: { role: "viewer", audit: { action: "log in", subject: () => null } },
      schema: {
        operationId: "logIn",
        summary: "Exchange a token for the cookie of a browser's log-in",
        response: { 201: loginState },
      },
    },
    async ({ caller, protocol, login }, reply) => {
      // A log-in does not make another one, which would outlive it.
      if (login) return reply.code(201).send(stateOf(login));
      const opened = logins.open(caller, () => tokens.isGood(caller.name));
      reply.header("set-cookie", cookieFor(opened.value, protocol === "https"));
      return reply.code(201).send(stateOf(opened.login));
    },
  );
  app.get(
    "/login",
    {
      // A page that asks whether anybody is logged in makes no mistake.
      config: { open: true },
      schema: {
        operationId: "showLogin",
        summary: "Who asks. Needs no token",
        security: [],
        response: { 200: loginState.nullable() },
      },
    },
    async ({ caller, login }, reply) =>
      reply.send(login ? stateOf(login) : caller === ANYONE ? null : { ...caller, csrf: null, until: null }),
  );
  app.delete(
    "/login",
    {
      config: { role: "viewer", audit: { action: "log out", subject: () => null } },
      schema: {
        operationId: "logOut",
        summary: "End a browser's log-in, and the answers that are being sent to it",
        response: { 204: z.null() },
      },
    },
    async ({ headers, protocol }, reply) => {
      logins.close(headers.cookie);
      answers.endOutdated(reply.raw);
      return reply
        .header("set-cookie", cookieFor(undefined, protocol === "https"))
        .code(204)
        .send(null);
    },
  );
}

function stateOf({ caller, csrf, until }: NonNullable<FastifyRequest["login"]>) {
  return { ...caller, csrf, until };
}
