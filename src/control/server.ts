import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import Fastify, { type FastifyReply } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { z } from "zod";
import { isLoopbackHost } from "../config/formats.ts";
import { nameKnownKeys, problemsOf } from "../config/problem.ts";
import { ConfigError, InvariantError } from "../errors.ts";
import type { ApiError } from "./api.ts";
import type { ControlApp } from "./app.ts";
import { AuditFailure } from "./audit.ts";
import { auditRequests } from "./audit-hooks.ts";
import { openToken } from "./auth.ts";
import { boundConnections, type ConnectionLimits } from "./connections.ts";
import { guard } from "./guard.ts";
import { type Certificate, changeCertificate, createHttpServer } from "./http-server.ts";
import { Logins } from "./logins.ts";
import { type OidcOptions, OpenIdConnect } from "./oidc.ts";
import { OpenAnswers } from "./open-answers.ts";
import { describeApi } from "./openapi.ts";
import type { Operations } from "./operations.ts";
import { addAuditRoutes } from "./routes/audit.ts";
import { addAuthorityRoutes } from "./routes/authorities.ts";
import { addBypassRoutes } from "./routes/bypasses.ts";
import { addCaPage } from "./routes/ca-page.ts";
import { addCacheRoutes } from "./routes/caches.ts";
import { addConsole } from "./routes/console.ts";
import { addEventRoutes } from "./routes/events.ts";
import { addHealthRoutes } from "./routes/health.ts";
import { addKeyRoutes } from "./routes/keys.ts";
import { addLogRoutes } from "./routes/log.ts";
import { addLoginRoutes } from "./routes/login.ts";
import { addMetricsRoute } from "./routes/metrics.ts";
import { addOidcRoutes } from "./routes/oidc.ts";
import { addPolicyRoutes } from "./routes/policy.ts";
import { addPreviewRoute } from "./routes/preview.ts";
import { addSessionRoutes } from "./routes/sessions.ts";
import { addStatsRoutes } from "./routes/stats.ts";
import { addSuggestionRoutes } from "./routes/suggestions.ts";
import { addTokenRoutes } from "./routes/tokens.ts";
import { addTransactionRoutes } from "./routes/transactions.ts";
import { addTroubleRoutes } from "./routes/trouble.ts";
import { openTokens } from "./tokens.ts";

export interface ControlOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** The owner's token, made when absent. The other tokens are beside it. */
  readonly tokenFile: string;
  /** Absent: plain HTTP. */
  readonly certificate?: Certificate | undefined;
  readonly connections?: ConnectionLimits;
  /** Absent: nobody logs in by OpenID Connect. */
  readonly oidc?: OidcOptions | undefined;
  /** The files of the console; absent: those of this installation. */
  readonly consoleFolder?: string;
  readonly log: { warn(message: string): void; error(message: string): void };
}

export interface Control {
  /** With the certificate that it shows, in PEM, unless it speaks plain HTTP. */
  readonly address: { readonly host: string; readonly port: number; readonly certificate?: string | undefined };
  /** New connections get this one. Only where there was one at the start. */
  changeCertificate(certificate: Certificate): void;
  close(): Promise<void>;
}

const CONNECTIONS: ConnectionLimits = { all: 256, perPeer: 32 };

/** Where the console is built. */
const CONSOLE = join(import.meta.dirname, "../../console/dist");

/** Serves the API. Throws ConfigError when it cannot listen, or cannot use the token file. */
export async function startControl(operations: Operations, options: ControlOptions): Promise<Control> {
  const { log, tokenFile } = options;
  const notice = log.warn.bind(log);
  const tokens = await openTokens(join(dirname(tokenFile), "tokens.json"), await openToken(tokenFile, notice), notice);
  const app: ControlApp = Fastify({
    bodyLimit: 1024 * 1024,
    serverFactory: (handler) => createHttpServer(options.certificate, handler),
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256 },
    schemaController: { compilersFactory: { buildValidator: replaced, buildSerializer: replaced } },
  }).withTypeProvider<ZodTypeProvider>();
  const answers = new OpenAnswers();
  const logins = new Logins();
  const oidc = options.oidc && new OpenIdConnect(options.oidc);
  // JSON is the only thing that it reads.
  app.removeContentTypeParser("text/plain");
  const connections = boundConnections(app.server, options.connections ?? CONNECTIONS);
  app.setValidatorCompiler<z.ZodType>(
    ({ schema }) =>
      (value) =>
        check(schema, value),
  );
  // The types hold the answers to the schemas. To check each of 10,000 sessions again would block the node for long.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  guard(app, {
    tokens,
    logins,
    answers,
    loopback: isLoopbackHost(options.host),
    connections,
    audit: operations.audit,
    log,
  });
  auditRequests(app, operations.audit);
  app.setErrorHandler((error, _, reply) => answerError(error, reply, log));
  app.setNotFoundHandler(({ method, url }, reply) => {
    reply.code(404).send({
      error: `There is no ${method} ${url.split("?")[0]}. /api/v1/docs lists all requests`,
    } satisfies ApiError);
  });
  await describeApi(app, operations.version);
  const routes = (api: ControlApp, _: object, done: () => void) => {
    addRoutes(api, operations);
    addTokenRoutes(api, tokens, logins, answers);
    addLoginRoutes(api, logins, tokens, answers);
    addOidcRoutes(api, { provider: oidc, logins, audit: operations.audit, log });
    done();
  };
  await app.register(routes, { prefix: "/api/v1" });
  addMetricsRoute(app, operations);
  addCaPage(app, operations);
  await addConsole(app, options.consoleFolder ?? CONSOLE);
  await listen(app, options);
  const { port } = app.server.address() as AddressInfo;
  let { certificate } = options;
  return {
    get address() {
      return { host: options.host, port, certificate: certificate?.certificatePem };
    },
    changeCertificate(changed) {
      certificate = changed;
      changeCertificate(app.server, changed);
    },
    close: () => app.close(),
  };
}

/**
 * In place of Fastify's own compilers of schemas, before this app's are set: merely to load those, which are never called, would take a
 * tenth of the start.
 */
function replaced(): never {
  throw new InvariantError("A route was added before the app's own compilers were set");
}

/** What is wrong with a request is worded as what is wrong with the configuration. */
function check(schema: z.ZodType, value: unknown): { value: unknown } | { error: Error } {
  const { success, data, error } = schema.safeParse(value, { error: nameKnownKeys });
  if (success) return { value: data };
  const problems = problemsOf(error.issues, value);
  return { error: new AggregateError(problems.map(({ path, says }) => new ConfigError(path, `${path} ${says}`))) };
}

function addRoutes(api: ControlApp, operations: Operations): void {
  addSessionRoutes(api, operations);
  addStatsRoutes(api, operations);
  addHealthRoutes(api, operations);
  addPolicyRoutes(api, operations);
  addPreviewRoute(api, operations);
  addAuthorityRoutes(api, operations);
  addKeyRoutes(api, operations);
  addBypassRoutes(api, operations);
  addCacheRoutes(api, operations);
  addSuggestionRoutes(api, operations);
  addTroubleRoutes(api, operations);
  addEventRoutes(api, operations);
  addAuditRoutes(api, operations);
  addLogRoutes(api, operations);
  addTransactionRoutes(api, operations);
  api.get("/openapi.json", { config: { open: true }, schema: { hide: true } }, () => api.swagger());
}

/** A mistake of the caller is answered in full. What went wrong in the node goes to the log only. */
function answerError(error: unknown, reply: FastifyReply, log: ControlOptions["log"]): void {
  const [status, answer] = blame(error);
  if (status === 500)
    log.error(`Cannot answer ${reply.request.method} ${reply.request.routeOptions.url}: ${stack(error)}`);
  reply.code(status).send(answer);
}

function blame(error: unknown): [status: number, answer: ApiError] {
  // A disk that takes nothing is no mistake of the caller.
  if (error instanceof ConfigError) return [error.path === "dataDir" ? 503 : 400, errorEntry(error)];
  if (error instanceof AggregateError && error.errors.every((one) => one instanceof ConfigError)) {
    const errors = error.errors.map(errorEntry);
    if (errors[0]) return [400, { ...errors[0], ...(errors.length > 1 && { errors }) }];
  }
  if (error instanceof AuditFailure) return [503, { error: error.message }];
  const status = error instanceof Error && "statusCode" in error ? Number(error.statusCode) : 500;
  if (status >= 400 && status < 500) return [status, { error: (error as Error).message }];
  return [500, { error: "The node failed to answer; its log says why" }];
}

function errorEntry({ message, path, place }: ConfigError) {
  return { error: message, path, ...(place && { line: place.line, column: place.column }) };
}

function stack(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Why the node cannot listen on `console.address`. */
const LISTEN_FAULTS: Readonly<Record<string, string>> = {
  EADDRINUSE: "something else listens there already",
  EACCES: "this user may not use that port",
  EADDRNOTAVAIL: "this machine does not have that address",
  ENOTFOUND: "that name has no address",
};

async function listen(app: ControlApp, { host, port }: ControlOptions): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    await app.close();
    const { code, message } = error as NodeJS.ErrnoException;
    const why = LISTEN_FAULTS[code ?? ""] ?? message;
    const shown = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    throw new ConfigError("console.address", `Cannot serve the console on ${shown} (console.address): ${why}`, {
      cause: error,
    });
  }
}
