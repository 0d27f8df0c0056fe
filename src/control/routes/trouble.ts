import { z } from "zod";
import { TROUBLES } from "../../sessions/remedies.ts";
import { compileQuery, type SessionQuery } from "../../sessions/search.ts";
import { TOP_KEYS, Top, topList } from "../../sessions/top.ts";
import { Troubles, troubleList } from "../../sessions/trouble.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure } from "../schemas.ts";
import { sessionFilter } from "../session-filter.ts";
import { checkQuery } from "../session-search.ts";

const DAY = 86_400_000;
/** The failed sessions whose records one answer is made from. */
const MOST_FAILURES = 20_000;

const span = sessionFilter.pick({ since: true, until: true, host: true, client: true, listener: true });
const limit = z.coerce.number().int().min(1).max(1_000);

export function addTroubleRoutes(app: ControlApp, operations: Operations): void {
  app.get(
    "/trouble",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listTrouble",
        summary:
          "Failed sessions by host and cause, with what to do; of the last 24 hours unless `since` says otherwise",
        querystring: span.extend({ limit: limit.default(50) }),
        response: { 200: troubleList, 400: failure },
      },
    },
    async ({ query: { limit, ...wanted } }) => {
      const query = within(wanted);
      const troubles = new Troubles();
      let looked = 0;
      for await (const some of operations.history.pages({ ...query, outcome: TROUBLES }, MOST_FAILURES)) {
        looked += some.length;
        for (const session of some) troubles.add(session);
      }
      const found = troubles.answer();
      const complete = looked < MOST_FAILURES;
      return { since: query.since, troubles: found.slice(0, limit), more: found.length > limit, complete };
    },
  );
  app.get(
    "/top",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "listTop",
        summary: "What most sessions have in common; of the last 24 hours unless `since` says otherwise",
        querystring: span.extend({ by: z.enum(TOP_KEYS), limit: limit.default(20) }),
        response: { 200: topList, 400: failure },
      },
    },
    async ({ query: { by, limit, ...wanted } }) => {
      const query = within(wanted);
      const matches = compileQuery(query);
      const top = new Top(by);
      for (const session of operations.sessions.live()) if (matches(session)) top.add(session);
      for await (const some of operations.history.since(query.since))
        for (const session of some) if (matches(session)) top.add(session);
      return top.answer(query.since, limit);
    },
  );
}

/** The last day, unless the query says otherwise. */
function within<Query extends SessionQuery>(query: Query): Query & { readonly since: number } {
  const { since = (query.until ?? Date.now()) - DAY } = query;
  const whole = { ...query, since };
  checkQuery(whole);
  return whole;
}
