import { EventEmitter } from "node:events";
import type { Server, TLSSocket } from "node:tls";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { isFatalAlert } from "./openssl-errors.ts";

/** Where sessions that clients resume by identifier are stored. */
export interface ClientSessions {
  readonly sessions: SessionKeeper;
  /** What must be the same in both sessions. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/** The TLS session of one connection, resumed or new. */
export interface ClientSession {
  /** Answers Node's tls.Server events. Each leg has its own, because the events do not say which connection they are for. */
  readonly server: Server;
  /** Forgets the session after a fatal alert on this stream. */
  watch(stream: TLSSocket): void;
}

/** Finds the session with the client's identifier and this bond. */
export async function openClientSession(
  { sessionId, sessionTicket }: ClientHello,
  { sessions, bond, timeout }: ClientSessions,
): Promise<ClientSession> {
  const place = (id: Uint8Array) => [...bond, Buffer.from(id).toString("hex")];
  // An identifier that comes with a ticket is a random value (RFC 5077, section 3.4).
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
