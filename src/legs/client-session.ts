import { EventEmitter } from "node:events";
import type { Server, TLSSocket } from "node:tls";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { isFatalAlert } from "./openssl-errors.ts";

/** Where OpenSSL's sessions with clients are, which come back by identifier. */
export interface ClientSessions {
  readonly sessions: SessionKeeper;
  /** What must be the same when a client comes back. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/** The one session of one connection: what it came back to, or what it begins. */
export interface ClientSession {
  /** What Node asks of a tls.Server. One for each leg: the question does not say whose it is. */
  readonly server: Server;
  /** A fatal alert on this stream, now or later, and nobody comes back to the session. */
  watch(stream: TLSSocket): void;
}

/** Finds the session whose identifier the client brings, when all that it is bound to is still the same. */
export async function openClientSession(
  { sessionId, sessionTicket }: ClientHello,
  { sessions, bond, timeout }: ClientSessions,
): Promise<ClientSession> {
  const place = (id: Uint8Array) => [...bond, Buffer.from(id).toString("hex")];
  // Beside a ticket the identifier is made up (RFC 5077, section 3.4).
  const brought = sessionId.length > 0 && !sessionTicket ? place(sessionId) : undefined;
  const earlier = brought && (await sessions.find(brought, Date.now()));
  let own = earlier && brought;

  const server = new EventEmitter();
  server.on("resumeSession", (_: Buffer, resume: (error: null, session: Buffer | null) => void) => {
    resume(null, earlier ? Buffer.from(earlier) : null);
  });
  server.on("newSession", (id: Buffer, session: Buffer, done: () => void) => {
    own = place(id);
    sessions.put(own, session, Date.now() + timeout);
    done();
  });
  return {
    server: server as Server,
    watch(stream) {
      stream.on("error", (error) => {
        if (own && isFatalAlert(error)) sessions.forget(own);
      });
    },
  };
}
