import { CALLER_ROLES, type CallerRole } from "../vocabulary.ts";
import type { Caller } from "./caller.ts";
import { fetchWith } from "./oidc-fetch.ts";
import { type Pending, PendingLogins } from "./oidc-pending.ts";

/** Log-ins by OpenID Connect: authorization code with PKCE, state and nonce (OpenID Connect Core 1.0, section 3.1; RFC 9700). */

export interface OidcOptions {
  readonly issuer: string;
  readonly clientId: string;
  /** Undefined: a public client. */
  readonly clientSecret: string | undefined;
  /** The console's URL as browsers open it. Undefined: as each request names it. */
  readonly url?: string | undefined;
  readonly scopes: readonly string[];
  readonly nameClaim: string;
  readonly roles: { readonly claim: string } & Readonly<Record<CallerRole, readonly string[]>>;
  /** ms that a log-in lasts at most. */
  readonly longest: number;
  /** The roots that the provider's certificate must reach, in PEM. */
  roots(): readonly string[];
}

/** Why a log-in failed, for the browser's user. `caller`: who it was, as far as the provider said. */
export class LoginFailure extends Error {
  readonly status: 400 | 403 | 502 | 503;
  readonly who: string | undefined;

  constructor(status: LoginFailure["status"], message: string, options: ErrorOptions & { readonly who?: string } = {}) {
    super(message, options);
    this.status = status;
    this.who = options.who;
  }
}

export const CALLBACK = "/api/v1/login/oidc/callback";

/** ms. */
const PENDING = 600_000;
const DISCOVERY_LASTS = 3_600_000;
const REST_AFTER_FAILURE = 5_000;
/** Seconds for each request to the provider. */
const TIMEOUT = 10;
/** Log-ins that ask the provider at one time. */
const ASKING = 16;

type Client = typeof import("openid-client");
interface Provider {
  readonly client: Client;
  readonly config: import("openid-client").Configuration;
}
type Claims = Readonly<Record<string, unknown>>;

export class OpenIdConnect {
  readonly options: OidcOptions;
  readonly #pending = new PendingLogins();
  readonly #now: () => number;
  #provider: Promise<Provider> | undefined;
  /** On the clock of `#now`: after this, the provider is asked for its document again. */
  #until = 0;
  #asking = 0;

  constructor(options: OidcOptions, now: () => number = Date.now) {
    this.options = options;
    this.#now = now;
  }

  /** Where the browser logs in, and what its cookie keeps meanwhile. `origin`: of this node. Throws LoginFailure. */
  async begin(origin: string, to: string): Promise<{ readonly url: URL; readonly cookie: string }> {
    const { client, config } = await this.#discover();
    const redirect = `${this.options.url?.replace(/\/$/, "") ?? origin}${CALLBACK}`;
    const verifier = client.randomPKCECodeVerifier();
    const [state, nonce] = [client.randomState(), client.randomNonce()];
    const url = client.buildAuthorizationUrl(config, {
      redirect_uri: redirect,
      scope: ["openid", ...this.options.scopes].join(" "),
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      ...{ state, nonce },
    });
    return { url, cookie: this.#pending.seal({ state, nonce, verifier, redirect, to, until: this.#now() + PENDING }) };
  }

  /** Who has logged in. `query`: with which the provider sent the browser back. Throws LoginFailure. */
  async finish(query: string, cookie: string | undefined): Promise<{ readonly caller: Caller; readonly to: string }> {
    const pending = cookie === undefined ? undefined : this.#pending.open(cookie, this.#now());
    if (!pending) throw new LoginFailure(400, "This browser did not begin a log-in at this node within 10 minutes");
    if (this.#asking >= ASKING) throw new LoginFailure(503, "Too many log-ins are under way. Try again");
    this.#asking += 1;
    try {
      return { caller: this.#callerOf(await this.#claims(query, pending)), to: pending.to };
    } finally {
      this.#asking -= 1;
    }
  }

  async #claims(query: string, { state, nonce, verifier, redirect }: Pending): Promise<Claims> {
    const provider = await this.#discover();
    const { client, config } = provider;
    try {
      const tokens = await client.authorizationCodeGrant(config, new URL(redirect + query), {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const claims: Claims = { ...tokens.claims() };
      if (this.#hasAll(claims) || config.serverMetadata().userinfo_endpoint === undefined) return claims;
      return { ...(await client.fetchUserInfo(config, tokens.access_token, String(claims["sub"]))), ...claims };
    } catch (error) {
      if (error instanceof client.AuthorizationResponseError) {
        const why = [error.error, error.error_description].filter(Boolean).join(": ");
        throw new LoginFailure(403, `The provider refused the log-in: ${shown(why)}`, { cause: error });
      }
      throw this.#failed("did not complete the log-in", error);
    }
  }

  #hasAll(claims: Claims): boolean {
    const { nameClaim, roles } = this.options;
    return valueAt(claims, nameClaim) !== undefined && valueAt(claims, roles.claim) !== undefined;
  }

  /** Names of users begin with "oidc:", which no token's name does. */
  #callerOf(claims: Claims): Caller {
    const { nameClaim, roles } = this.options;
    const name = valueAt(claims, nameClaim);
    if (typeof name !== "string" || !/^[^\p{C}\p{Z}](?:[^\p{C}\p{Zl}\p{Zp}]{0,126}[^\p{C}\p{Z}])?$/u.test(name))
      throw new LoginFailure(
        403,
        `The provider names no user: the claim ${nameClaim} is ${shown(JSON.stringify(name))}`,
      );
    const who = `oidc:${name}`;
    const held = [valueAt(claims, roles.claim)].flat();
    const role = CALLER_ROLES.findLast((one) => roles[one].some((value) => held.includes(value)));
    if (role) return { name: who, role };
    const found = held[0] === undefined ? "is missing" : `is ${shown(held.join(", "))}`;
    const message = `${name} has no role at this node: the claim ${roles.claim} ${found}, and console.oidc.roles names none of it`;
    throw new LoginFailure(403, message, { who });
  }

  /** The provider's document and the library, which is loaded with the first log-in. */
  #discover(): Promise<Provider> {
    if (this.#provider && this.#now() < this.#until) return this.#provider;
    const asked = this.#askProvider();
    this.#provider = asked;
    this.#until = this.#now() + DISCOVERY_LASTS;
    asked.catch(() => {
      if (this.#provider === asked) this.#until = this.#now() + REST_AFTER_FAILURE;
    });
    return asked;
  }

  async #askProvider(): Promise<Provider> {
    const client = await import("openid-client");
    const { issuer, clientId, clientSecret, roots } = this.options;
    const authentication = clientSecret === undefined ? client.None() : client.ClientSecretBasic(clientSecret);
    try {
      const config = await client.discovery(new URL(issuer), clientId, undefined, authentication, {
        [client.customFetch]: fetchWith(roots),
        timeout: TIMEOUT,
        ...(issuer.startsWith("http:") && { execute: [client.allowInsecureRequests] }),
      });
      return { client, config };
    } catch (error) {
      throw this.#failed("cannot be used", error);
    }
  }

  /** The library's own words for what the network or TLS said are of no use. */
  #failed(what: string, error: unknown): LoginFailure {
    const { message, cause } = error as Error;
    const { code, message: reason } = (cause ?? {}) as { readonly code?: unknown; readonly message?: string };
    const why = typeof code === "string" ? code : [message, reason].filter(Boolean).join(": ");
    return new LoginFailure(502, `The provider ${this.options.issuer} ${what}: ${shown(why)}`, { cause: error });
  }
}

/** A claim by its name, or by a path such as realm_access.roles. */
function valueAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  return name.split(".").reduce<unknown>((value, key) => {
    return typeof value === "object" && value !== null && Object.hasOwn(value, key)
      ? (value as Claims)[key]
      : undefined;
  }, claims);
}

/** What the provider wrote, for an error. */
function shown(text: string | undefined): string {
  const harmless = String(text).replace(/\p{C}/gu, "\ufffd");
  return harmless.length > 200 ? `${harmless.slice(0, 200)}…` : harmless;
}
