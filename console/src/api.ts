import { signal } from "@preact/signals";
import type { ApiError } from "../../src/control/api.ts";
import { T } from "./texts.ts";

/** Requests to the node that serves this page. The log-in is a cookie, which no script can read. */

const BASE = "/api/v1";

export interface Login {
  readonly name: string;
  readonly role: "viewer" | "operator" | "administrator";
  /** Goes with every request that changes something, so that no other site's page can send it. */
  readonly csrf: string;
}

/** Undefined: not known yet. Null: nobody is logged in. */
export const login = signal<Login | null | undefined>(undefined);

/** What the node says about a request that failed. `status` 0: it did not answer. */
export class RequestFailure extends Error {
  readonly status: number;
  /** All that is wrong, each with its place in the configuration. */
  readonly details: NonNullable<ApiError["errors"]>;

  constructor(status: number, { error, errors = [] }: ApiError) {
    super(error);
    this.status = status;
    this.details = errors;
  }
}

/** What to tell of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The error of a request; any other is wrapped as one. */
export function failureOf(error: unknown): RequestFailure {
  return error instanceof RequestFailure ? error : new RequestFailure(0, { error: messageOf(error) });
}

type Method = "GET" | "POST" | "DELETE";

/** Throws RequestFailure. `body` is sent as JSON. */
export async function ask<T>(where: string, asked: Asked = {}): Promise<T> {
  const response = await send(where, asked);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

interface Asked {
  readonly method?: Method;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** To log in with. */
  readonly token?: string;
}

async function send(where: string, { method = "GET", body, signal, token }: Asked = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (method !== "GET" && login.peek()) headers["x-csrf-token"] = login.peek()!.csrf;
  let response: Response;
  try {
    response = await fetch(BASE + where, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RequestFailure(0, { error: T.noAnswer });
  }
  if (response.ok) return response;
  if (response.status === 401 && where !== "/login") login.value = null;
  const answer = (await response.json().catch(() => ({ error: T.answered(response.status) }))) as ApiError;
  throw new RequestFailure(response.status, answer);
}

/** Where a link to the API leads. */
export function apiPath(where: string): string {
  return BASE + where;
}

/** The parameters that are not empty, with "?" in front when there are any. */
export function query(parameters: Readonly<Record<string, string | number | undefined>>): string {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") all.set(name, String(value));
  }
  return all.size > 0 ? `?${all}` : "";
}

/** Who is logged in, if anybody: the page was loaded anew. */
export async function findLogin(): Promise<void> {
  login.value = await ask<Login | null>("/login");
}

export async function logIn(token: string): Promise<void> {
  login.value = await ask<Login>("/login", { method: "POST", token });
}

export async function logOut(): Promise<void> {
  await ask("/login", { method: "DELETE" });
  login.value = null;
}

const ROLES = ["viewer", "operator", "administrator"] as const;

/** Whether whoever is logged in may do what needs this role. The node checks it again. */
export function may(role: Login["role"]): boolean {
  return login.value != null && ROLES.indexOf(login.value.role) >= ROLES.indexOf(role);
}
