import { createSessionCache, type SessionCache } from "./session-cache.ts";

/** A session is some hundred bytes; one with a server brings the server's chain, some kilobytes. */
const BYTES = { client: 1_024, server: 8_192 } as const;
/** A server gives several tickets for TLS 1.3, each good for one connection, and browsers open several at once. */
const OF_ONE_SERVER = 4;

/** Sessions that clients come back to, each as often as they like: so many, in no more memory than they commonly need. */
export function createClientSessions(entries: number): SessionCache {
  return createSessionCache({ entries, bytes: entries * BYTES.client, ofOneName: 1, once: false });
}

/** Sessions with which the node comes back to servers, each once. */
export function createServerSessions(entries: number): SessionCache {
  return createSessionCache({ entries, bytes: entries * BYTES.server, ofOneName: OF_ONE_SERVER, once: true });
}
