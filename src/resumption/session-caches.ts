import { createSessionCache, type SessionCache } from "./session-cache.ts";

/** The room for one session: some hundred bytes with a client; some kilobytes with a server, whose chain is kept too. */
const BYTES = { client: 1_024, server: 8_192 } as const;
/** A TLS 1.3 server gives several tickets, each good for one connection, and browsers open several connections at once. */
const OF_ONE_SERVER = 4;

/** Sessions with clients. A client may resume the same one again and again. */
export function createClientSessions(entries: number): SessionCache {
  return createSessionCache({ entries, bytes: entries * BYTES.client, ofOneName: 1, once: false });
}

/** Sessions with servers. The node resumes each one once. */
export function createServerSessions(entries: number): SessionCache {
  return createSessionCache({ entries, bytes: entries * BYTES.server, ofOneName: OF_ONE_SERVER, once: true });
}
