import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { NewToken } from "../api.ts";
import type { ControlApp } from "../app.ts";
import type { Logins } from "../logins.ts";
import type { OpenAnswers } from "../open-answers.ts";
import { failure, newToken, shownToken, token } from "../schemas.ts";
import type { Tokens } from "../tokens.ts";

export function addTokenRoutes(app: ControlApp, tokens: Tokens, logins: Logins, answers: OpenAnswers): void {
  app.get(
    "/tokens",
    {
      config: { role: "administrator" },
      schema: {
        operationId: "listTokens",
        summary: "The tokens of the API",
        response: { 200: z.array(token).readonly() },
      },
    },
    () => tokens.list(),
  );
  app.post(
    "/tokens",
    {
      config: { role: "administrator", audit: { action: "token add", subject: wantedIn } },
      schema: { operationId: "addToken", summary: "Make a token", body: newToken, response: { 201: shownToken } },
    },
    async ({ body, caller }, reply) => {
      const { token, info } = await tokens.add(body, caller);
      return reply.code(201).send({ ...info, token });
    },
  );
  app.delete(
    "/tokens/:name",
    {
      config: { role: "administrator", audit: { action: "token remove" } },
      schema: {
        operationId: "removeToken",
        summary: "Withdraw a token, and end the answers that are being sent to it",
        params: z.object({ name: z.string().max(64) }),
        response: { 204: z.null(), 404: failure },
      },
    },
    async ({ params: { name } }, reply) => {
      if (!(await tokens.remove(name))) {
        const error = `Cannot remove the token ${name}: the node has no token of this name`;
        return reply.code(404).send({ error, path: "name" });
      }
      logins.end(name);
      answers.endOutdated(reply.raw);
      return reply.code(204).send(null);
    },
  );
}

function wantedIn({ body }: FastifyRequest): string {
  const { name, role } = body as NewToken;
  return `${name} (${role})`;
}
