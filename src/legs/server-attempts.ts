import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { LegFailure, ServerLeg } from "./leg.ts";

/** A connection to the server, and the way to another one. */
export interface ServerConnection {
  readonly server: End;
  /** Throws NetworkError. */
  redial(): Promise<End>;
}

/** What the server answered, and on which connection. */
export interface ServerAttempt {
  readonly leg: ServerLeg | LegFailure;
  readonly server: End;
}

/** Opens a leg on this end. `mayResume`: an earlier session may be offered. */
type OpenLeg = (server: End, mayResume: boolean) => Promise<ServerLeg | LegFailure>;

export interface Versions {
  readonly tls: OpenLeg;
  readonly ssl3: OpenLeg;
  /** Whether this failure may come from a server that speaks nothing newer than SSL 3.0, and policy allows SSL 3.0. */
  mayFallBack(failure: LegFailure): boolean;
}

/**
 * Opens TLS with a server. A server that may only speak SSL 3.0 is asked again in SSL 3.0, where policy allows that; if this
 * fails as well, the first answer counts.
 */
export async function attemptServerLeg(
  connection: ServerConnection,
  { tls, ssl3, mayFallBack }: Versions,
): Promise<ServerAttempt> {
  const first = await attemptResumption(connection, tls);
  if (first.leg.kind === "up" || !mayFallBack(first.leg)) return first;
  const server = await redialOrNothing(connection);
  const second = server && (await attemptResumption({ ...connection, server }, ssl3));
  return second && saysMore(second.leg) ? second : first;
}

/**
 * A server that fails when an earlier session is offered is asked once more without one, on a new connection: as browsers
 * do. A server that timed out is not: it has taken its time already.
 */
async function attemptResumption(connection: ServerConnection, open: OpenLeg): Promise<ServerAttempt> {
  const { server } = connection;
  const leg = await open(server, true);
  if (leg.kind === "up" || !leg.resuming || leg.cause === "timeout") return { leg, server };
  const fresh = await redialOrNothing(connection);
  return fresh ? { leg: await open(fresh, false), server: fresh } : { leg, server };
}

/** Undefined: the server is gone, so its first answer is its last. */
async function redialOrNothing({ redial }: ServerConnection): Promise<End | undefined> {
  try {
    return await redial();
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

/** A second refusal says less than the first, unless this node refused the server, or the server asked for a certificate. */
function saysMore(leg: ServerLeg | LegFailure): boolean {
  return leg.kind === "up" || leg.cause === "protocol" || leg.certificateRequested === true;
}
