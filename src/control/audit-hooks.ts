import type { FastifyRequest } from "fastify";
import ipaddr from "ipaddr.js";
import { InvariantError } from "../errors.ts";
import type { AuditedAction } from "../vocabulary.ts";
import type { ControlApp } from "./app.ts";
import { type Audit, type AuditedStep, AuditFailure } from "./audit.ts";

/** How a route's requests are recorded. */
interface AuditedRoute {
  readonly action: AuditedAction;
  /** What the request is about. Absent: the parameters in its path. */
  readonly subject?: (request: FastifyRequest) => string | null;
}

declare module "fastify" {
  interface FastifyContextConfig {
    /**
     * Every route that changes something, or shows plaintext, has this: its requests are recorded before they are carried out, and are
     * refused when they cannot be. Null: the request changes nothing, although its method is not GET.
     */
    audit?: AuditedRoute | null;
  }
  interface FastifyRequest {
    /** The number of the entry for this request. */
    audited: number | undefined;
    /** What the entry says of the outcome, where the route knows more than its subject. */
    auditDetail: string | undefined;
  }
}

const READING: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/** Records every request to a route with `audit`: before it is carried out, and how it ended. */
export function auditRequests(app: ControlApp, audit: Audit): void {
  app.decorateRequest("audited");
  app.decorateRequest("auditDetail");
  app.addHook("onRoute", ({ url, method, config }) => {
    const changes = [method].flat().some((one) => !READING.includes(one));
    if (changes && config?.audit === undefined)
      throw new InvariantError(`${method} ${url} says nothing of the audit log`);
  });
  app.addHook("preHandler", async (request, { raw }) => {
    const step = stepOf(request);
    if (!step) return;
    try {
      request.audited = await audit.begin(step);
    } catch (error) {
      if (!(error instanceof AuditFailure)) throw error;
      throw new AuditFailure(`Cannot do "${step.action}": ${error.message}. Nothing was changed or shown`, {
        cause: error,
      });
    }
    // The disk may have taken long. Work for a client that has left, such as following a session, might never end.
    if (raw.destroyed)
      throw new AuditFailure(
        `Cannot do "${step.action}": the client left before it was recorded. Nothing was changed or shown`,
      );
  });
  const end = (request: FastifyRequest, status: number, detail?: string) => {
    if (request.audited === undefined) return;
    audit.end(request.audited, status < 400 ? "done" : "failed", detail ?? request.auditDetail);
    request.audited = undefined;
  };
  app.addHook("onSend", async (request, { statusCode }, payload) => end(request, statusCode, errorIn(payload)));
  // Answers that a route writes itself.
  app.addHook("onResponse", async (request, { statusCode }) => end(request, statusCode));
  app.addHook("onRequestAbort", async (request) => end(request, 499, "The client left before the answer's end"));
}

/** Records that a caller's role did not allow this request. */
export function noteRefusal(request: FastifyRequest, audit: Audit): void {
  const step = stepOf(request);
  if (step) audit.note(step, "refused", `The role ${request.caller.role} does not allow it`);
}

/** Undefined: requests to this route are not recorded. */
function stepOf(request: FastifyRequest): AuditedStep | undefined {
  const { audit } = request.routeOptions.config;
  if (!audit) return undefined;
  const { params, caller, body } = request;
  const named = Object.values(params as Readonly<Record<string, string>>).join(" ");
  const subject = (body !== undefined && audit.subject?.(request)) || named || null;
  return { caller, action: audit.action, subject, address: addressOf(request) };
}

/** An IPv4 client of a socket that serves both families is IPv4. */
export function addressOf({ socket: { remoteAddress } }: FastifyRequest): string | null {
  return remoteAddress === undefined ? null : ipaddr.process(remoteAddress.replace(/%.*$/, "")).toString();
}

/** What an answer of our own says went wrong. */
function errorIn(payload: unknown): string | undefined {
  if (typeof payload !== "string" || !payload.startsWith('{"error":')) return undefined;
  return String(JSON.parse(payload).error);
}
