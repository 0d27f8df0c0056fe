import type { FastifyContextConfig } from "fastify";

/** What the OpenAPI document says of every route alike, and what has to be mended in it. Pure. */

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

/** Parts of the document, which the two libraries that make it do not type. */
interface Documented {
  readonly paths?: Readonly<Record<string, unknown>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, unknown>> };
}

const REFERENCE = "#/components/schemas/";
const FAILURE = { "application/json": { schema: { $ref: `${REFERENCE}Failure` } } };

/** What a route needs and takes. */
interface Asked extends Pick<FastifyContextConfig, "open" | "role" | "audit"> {
  readonly body?: unknown;
  readonly query?: unknown;
  readonly params?: unknown;
}

/** Every answer of a route that is not its own. */
export function errorsOf({ open, role, audit, body, query, params }: Asked): Record<string, object> {
  const errors: Readonly<Record<string, string | false>> = {
    400: Boolean(body ?? query ?? params) && "The request is wrong; the answer names each mistake.",
    401: !open && "There is no token, or it is not one of this node's.",
    403:
      role === undefined || role === "viewer"
        ? "The Host header is another machine's name."
        : `The role is less than ${role}, or the Host header is another machine's name.`,
    413: Boolean(body) && "The body is too large.",
    415: Boolean(body) && "The body is not JSON.",
    429: !open && "Too many wrong tokens came from this address.",
    500: "The node failed; its log says why.",
    503: Boolean(audit) && "The audit log cannot be written, so nothing was done.",
  };
  const given = Object.entries(errors).filter(([, description]) => description !== false);
  return Object.fromEntries(given.map(([status, description]) => [status, { description, content: FAILURE }]));
}

const SUCCESS: Readonly<Record<string, string>> = {
  200: "The answer.",
  201: "It was made.",
  204: "It was done; there is nothing to say.",
  404: "There is no such thing.",
  503: "The node cannot do that now.",
};
const UNSAID = "Default Response";

/** Names the shapes that are used, and says of each answer what it is. */
export function finishDocument<Document extends Documented>(document: Document): Document {
  const paths = mend(document.paths as JsonObject) as JsonObject;
  const schemas = mend((document.components?.schemas ?? {}) as JsonObject) as JsonObject;
  const used = usedIn(paths, schemas);
  // A shape that only requests have needs no other name than that of answers.
  const short = (name: string) => {
    const base = name.replace(/Input$/, "");
    return used.has(base) ? name : base;
  };
  const renamed = (part: Json): Json =>
    JSON.parse(JSON.stringify(part), (key, value) =>
      key === "$ref" && typeof value === "string" ? REFERENCE + short(value.slice(REFERENCE.length)) : value,
    );
  const kept = Object.entries(schemas).filter(([name]) => used.has(name));
  return {
    ...document,
    paths: renamed(paths),
    components: {
      ...document.components,
      schemas: Object.fromEntries(kept.map(([name, shape]) => [short(name), renamed(shape)])),
    },
  };
}

/** The names of the shapes that these paths lead to, by others too. */
function usedIn(paths: JsonObject, schemas: JsonObject): ReadonlySet<string> {
  const used = new Set<string>();
  const follow = (part: Json): void => {
    for (const [, name] of JSON.stringify(part).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name!)) continue;
      used.add(name!);
      follow(schemas[name!] ?? null);
    }
  };
  follow(paths);
  return used;
}

/** A record of which all keys are known is an object with properties, and each answer has a description. */
function mend(part: Json): Json {
  if (Array.isArray(part)) return part.map(mend);
  if (typeof part !== "object" || part === null) return part;
  const { propertyNames, additionalProperties, required, ...rest } = part as JsonObject;
  const mended = Object.fromEntries(Object.entries(part).map(([key, value]) => [key, mend(value)]));
  if (propertyNames && Array.isArray(required) && additionalProperties !== undefined && !rest["properties"]) {
    const shape = mend(additionalProperties);
    const properties = Object.fromEntries(required.map((name) => [String(name), shape]));
    return { ...(mend(rest) as JsonObject), required, properties, additionalProperties: false };
  }
  const responses = mended["responses"];
  return typeof responses === "object" && responses !== null && !Array.isArray(responses)
    ? { ...mended, responses: described(responses as JsonObject) }
    : mended;
}

function described(responses: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(responses).map(([status, answer]) => {
      const { description, ...rest } = answer as JsonObject;
      return [status, { description: description === UNSAID ? (SUCCESS[status] ?? UNSAID) : description!, ...rest }];
    }),
  );
}
