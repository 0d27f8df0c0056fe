import { CALLER_ROLES, type CallerRole } from "../vocabulary.ts";

/** Who sends a request to the API. */
export interface Caller {
  /** The token's name. */
  readonly name: string;
  readonly role: CallerRole;
}

/** Who has the token in the node's data folder: that user can read the CA keys, too. */
export const OWNER: Caller = { name: "owner", role: "administrator" };

/** A signal says nothing of who sent it; the system lets only the node's user and root send it. */
export const SIGNAL: Caller = { name: "SIGHUP", role: "administrator" };

/** Who asks, without a token, for what is open to all. */
export const ANYONE: Caller = { name: "anyone", role: "viewer" };

/** Whether a caller may do what needs `least`. Each role may do all that the ones before it may. */
export function hasRole({ role }: Caller, least: CallerRole): boolean {
  return CALLER_ROLES.indexOf(role) >= CALLER_ROLES.indexOf(least);
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** The least role that the route needs. Every route has either this or `open`. */
    role?: CallerRole;
    /** No token is needed. */
    open?: boolean;
  }
  interface FastifyRequest {
    /** `ANYONE` for open routes. */
    caller: Caller;
  }
}
