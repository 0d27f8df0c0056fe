import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";
import { session } from "../sessions/record.ts";
import { report } from "../sessions/report.ts";
import type { ControlApp } from "./app.ts";
import * as bypasses from "./bypass-schemas.ts";
import { COOKIE } from "./logins.ts";
import { errorsOf, finishDocument } from "./openapi-document.ts";
import * as previews from "./preview-schemas.ts";
import * as shapes from "./schemas.ts";
import * as stats from "./stats-schemas.ts";

/** The API's page may load its own files and talk to this node only. */
const DOCS_POLICY =
  "default-src 'none'; connect-src 'self'; font-src 'self' data:; frame-ancestors 'none'; img-src 'self' data:; " +
  "script-src 'self'; style-src 'self' 'unsafe-inline'";

/** The shapes that have a name of their own in the document: every object of these files. The parameters of a query are listed one by one. */
const { flow: _, ...bodies } = shapes;
const NAMED: Readonly<Record<string, unknown>> = { ...bodies, ...stats, ...bypasses, ...previews, session, report };
for (const [name, shape] of Object.entries(NAMED)) {
  const id = `${name[0]!.toUpperCase()}${name.slice(1)}`;
  // Zod keeps the descriptions in the same registry.
  if (shape instanceof z.ZodObject) z.globalRegistry.add(shape, { ...z.globalRegistry.get(shape), id });
}

/** What is written at length: which part of the API, by the beginning of the path. */
const TAGS = {
  sessions: {
    paths: ["sessions", "fleet", "events", "transactions", "har"],
    description: "Live and closed sessions, their changes, and what they carry.",
  },
  policy: {
    paths: ["policy", "lists", "explain", "report", "bypasses", "suggestions"],
    description: "What is decided, and why.",
  },
  certificates: { paths: ["ca", "keys"], description: "The CAs that sign for clients, and inbound servers' keys." },
  access: { paths: ["tokens", "login", "audit"], description: "Who may do what, and who did." },
  node: { paths: [], description: "The node itself: health, figures, caches, reload." },
} as const;

const DESCRIPTION =
  "The API of one node. Times are ms since 1970 and sizes are bytes, unless a field says otherwise. Each request has the role of its " +
  "token: viewer, operator or administrator.";

/** A page for browsers, not a part of the API. */
function isPage(url: string): boolean {
  return !url.startsWith("/api/v1/") && url !== "/metrics";
}

function tagOf(url: string): keyof typeof TAGS {
  const [, part = ""] = /^\/api\/v1\/([^/]+)/.exec(url) ?? [];
  const names = Object.keys(TAGS) as (keyof typeof TAGS)[];
  return names.find((name) => (TAGS[name].paths as readonly string[]).includes(part)) ?? "node";
}

/** Describes every route that is added after this, as an OpenAPI document and as a page. */
export async function describeApi(app: ControlApp, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Clearline",
        description: DESCRIPTION,
        version,
        license: { name: "Apache 2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
      },
      servers: [{ url: "/", description: "The node that serves this document." }],
      tags: Object.entries(TAGS).map(([name, { description }]) => ({ name, description })),
      components: {
        securitySchemes: {
          token: { type: "http", scheme: "bearer", description: "A token of this node." },
          login: { type: "apiKey", in: "cookie", name: COOKIE, description: "A browser's log-in." },
        },
      },
      security: [{ token: [] }, { login: [] }],
    },
    transform(given) {
      const { schema, url } = jsonSchemaTransform(given);
      const { config } = given.route;
      if (!schema || schema.hide || isPage(url)) return { url, schema: { hide: true } };
      const { body, querystring: query, params } = schema;
      const needs = config?.role && `Needs the role ${config.role}.`;
      const records = config?.audit && `The audit log records it as "${config.audit.action}".`;
      const description = [schema.description, needs, records].filter(Boolean).join(" ");
      const response = { ...errorsOf({ ...config, body, query, params }), ...(schema.response as object) };
      return { url, schema: { ...schema, tags: [tagOf(url)], ...(description && { description }), response } };
    },
    transformObject: (given) => finishDocument(jsonSchemaTransformObject(given)),
  });
  await app.register(swaggerUi, {
    routePrefix: "/api/v1/docs",
    uiConfig: { layout: "BaseLayout", validatorUrl: null },
    theme: { title: "Clearline API" },
    staticCSP: DOCS_POLICY,
  });
}
