import { z } from "zod";
import { TROUBLES } from "../../sessions/remedies.ts";
import { compileQuery, type SessionQuery } from "../../sessions/search.ts";
import { SERIES_NAMES, seriesAnswer } from "../../sessions/series.ts";
import { TOP_KEYS, Top, topList } from "../../sessions/top.ts";
import { Troubles, troubleList } from "../../sessions/trouble.ts";
import type { ControlApp } from "../app.ts";
import type { Operations } from "../operations.ts";
import { failure } from "../schemas.ts";
import { anyOf, moment, sessionFilter } from "../session-filter.ts";
import { checkQuery, sessionsSince } from "../session-search.ts";

const DAY = 86_400_000;
/** The failed sessions whose records one answer is made from. */
const MOST_FAILURES = 20_000;

const span = sessionFilter.pick({ since: true, until: true, host: true, client: true, listener: true });
const limit = z.coerce.number().int().min(1).max(1_000);

export function addTroubleRoutes(app: ControlApp, operations: Operations): void {
  addSeriesRoute(app, operations);
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
      for await (const some of sessionsSince(operations, query.since))
        for (const session of some) if (matches(session)) top.add(session);
      return top.answer(query.since, limit);
    },
  );
}

function addSeriesRoute(app: ControlApp, operations: Operations): void {
  app.get(
    "/series",
    {
      config: { role: "viewer" },
      schema: {
        operationId: "readSeries",
        summary: "What the node did in each step of the last 24 hours",
        querystring: seriesQuery,
        response: { 200: seriesAnswer, 400: failure },
      },
    },
    async ({ query: { step, names = SERIES_NAMES, ...wanted } }) => {
      const now = Date.now();
      const until = Math.min(wanted.until ?? now, now);
      const since = Math.max(wanted.since ?? until - DAY, now - DAY);
      checkQuery({ ...wanted, since: wanted.since ?? since, until: wanted.until ?? until });
      const chosen = step === undefined ? STEPS_SHOWN.find((each) => (until - since) / each <= POINTS) : step * 1_000;
      return operations.series({ since, until, step: chosen ?? STEPS_SHOWN.at(-1)!, names });
    },
  );
}

/** ms of a step, where the query does not say it: the first with which the answer has at most so many points. */
const STEPS_SHOWN = [10_000, 30_000, 60_000, 300_000, 600_000];
const POINTS = 500;

const seriesQuery = z.strictObject({
  since: moment.describe(
    "ms since the epoch, or a time of ISO 8601; by default 24 hours ago, which is how far it goes back",
  ),
  until: moment.describe("ms since the epoch, or a time of ISO 8601; by default now"),
  step: z.coerce
    .number()
    .int()
    .min(10)
    .max(3_600)
    .multipleOf(10)
    .optional()
    .describe("seconds of each step, a multiple of 10; by default such that there are at most 500"),
  names: anyOf(SERIES_NAMES).describe("some of the series, separated by commas; by default all"),
});

/** The last day, unless the query says otherwise. */
function within<Query extends SessionQuery>(query: Query): Query & { readonly since: number } {
  const { since = (query.until ?? Date.now()) - DAY } = query;
  const whole = { ...query, since };
  checkQuery(whole);
  return whole;
}
