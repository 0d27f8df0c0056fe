import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Caller } from "./caller.ts";

/** Log-ins of browsers: a cookie stands for what was shown once, so that no script of a page ever holds a token. */

export interface Login {
  readonly caller: Caller;
  /** What requests that change something must carry in a header: another site's page cannot know it. */
  readonly csrf: string;
  /** When it ends, whatever its user does, in ms on the clock of `now`. */
  readonly until: number;
}

interface Kept extends Login {
  used: number;
  isGood(): boolean;
}

/** Times in ms. */
export interface LoginLimits {
  /** Without a request. */
  readonly idle: number;
  readonly longest: number;
  /** Log-ins at one time; the one that was used longest ago ends for a new one. */
  readonly all: number;
}

const LIMITS: LoginLimits = { idle: 30 * 60_000, longest: 12 * 3_600_000, all: 256 };
export const COOKIE = "clearline";

export class Logins {
  readonly #limits: LoginLimits;
  readonly #now: () => number;
  /** By the digest of the cookie's value: how long a look-up takes says nothing about the values. In the order of their use. */
  readonly #kept = new Map<string, Kept>();

  constructor(limits = LIMITS, now: () => number = Date.now) {
    this.#limits = limits;
    this.#now = now;
  }

  /** `isGood`: whether what was shown still holds; asked at each request. `longest`: its own limit, in ms. `value`: for the cookie. */
  open(
    caller: Caller,
    isGood: () => boolean,
    longest = this.#limits.longest,
  ): { readonly value: string; readonly login: Login } {
    const now = this.#now();
    const value = randomBytes(32).toString("base64url");
    const csrf = randomBytes(32).toString("base64url");
    const login: Kept = { caller, csrf, until: now + Math.min(longest, this.#limits.longest), used: now, isGood };
    this.#kept.set(digest(value), login);
    if (this.#kept.size > this.#limits.all) this.#kept.delete(this.#kept.keys().next().value!);
    return { value, login };
  }

  /** The log-in of a request with this Cookie header. Undefined: none, or it has ended. */
  find(header: string | undefined): Login | undefined {
    const key = digest(valueIn(header) ?? "");
    const login = this.#kept.get(key);
    if (!login) return undefined;
    this.#kept.delete(key);
    if (!this.#holds(login)) return undefined;
    login.used = this.#now();
    this.#kept.set(key, login);
    return login;
  }

  /** Whether the log-in has not ended: an answer may be sent for longer than it lasts. */
  isOpen(login: Login): boolean {
    return this.#kept.values().some((one) => one === login && this.#holds(one));
  }

  #holds({ until, used, isGood }: Kept): boolean {
    const now = this.#now();
    return now < until && now - used < this.#limits.idle && isGood();
  }

  close(header: string | undefined): void {
    this.#kept.delete(digest(valueIn(header) ?? ""));
  }

  /** A token was withdrawn: whoever logged in with it is out. */
  end(name: string): void {
    for (const [key, { caller }] of this.#kept) if (caller.name === name) this.#kept.delete(key);
  }
}

/** The Set-Cookie header for a log-in; without `value`: the one that removes the cookie (RFC 6265, section 4.1). */
export function cookieFor(value: string | undefined, isSecure: boolean): string {
  const life = value === undefined ? "; Max-Age=0" : "";
  return `${COOKIE}=${value ?? ""}; Path=/; HttpOnly; SameSite=Strict${isSecure ? "; Secure" : ""}${life}`;
}

/** Whether a request's header has the log-in's CSRF token, compared in constant time. */
export function hasCsrf({ csrf }: Login, header: string | string[] | undefined): boolean {
  return timingSafeEqual(Buffer.from(digest(csrf)), Buffer.from(digest(String(header))));
}

function valueIn(header: string | undefined): string | undefined {
  return new RegExp(`(?:^|;) *${COOKIE}=([\\w-]{43})(?:;|$)`).exec(header ?? "")?.[1];
}

function digest(value: string): string {
  return createHash("sha256").update(value).digest("base64");
}

declare module "fastify" {
  interface FastifyRequest {
    /** The browser's log-in by whose cookie the caller is known. */
    login: Login | undefined;
  }
}
