import { createSessionCache } from "./session-cache.ts";

/**
 * "sessions": those that clients come back to, each as often as they like. "server-sessions": those with which the node comes
 * back to servers, each once.
 */
export const SESSION_CACHES = ["sessions", "server-sessions"] as const;
export type SessionCacheName = (typeof SESSION_CACHES)[number];

export type SessionCaches = Readonly<Record<SessionCacheName, ReturnType<typeof createSessionCache>>>;

/** A session is some hundred bytes; one with a server brings the server's chain, some kilobytes. */
const BYTES_EACH = { sessions: 1_024, "server-sessions": 8_192 } as const;
/** A server gives several tickets for TLS 1.3, and browsers open several connections at once. */
const OF_ONE_SERVER = 4;

/** So many sessions of each kind, and no more memory than they commonly need. */
export function createSessionCaches(entries: number): SessionCaches {
  const of = (name: SessionCacheName) => ({ entries, bytes: entries * BYTES_EACH[name] });
  return {
    sessions: createSessionCache({ ...of("sessions"), ofOneName: 1, once: false }),
    "server-sessions": createSessionCache({ ...of("server-sessions"), ofOneName: OF_ONE_SERVER, once: true }),
  };
}
